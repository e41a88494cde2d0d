"""What a reader of a `.bcap` file needs: the light side of bytecap, torch and numpy; no trainer, no quantizer.

usage: python examples/read_a_file.py FILE      such as runs/demo/model.bcap
"""

import sys
from pathlib import Path

import torch

from bytecap import load

HEAVY = ("bytecap.train", "bytecap.quant", "bytecap.fitting", "bytecap.commands", "numba", "pydantic", "safetensors")


def main() -> None:
    """Read the file, run the model once, and say what was imported for that."""
    artifact = load(Path(sys.argv[1]))
    model = artifact.model()
    tokens_BT = torch.zeros(1, 8, dtype=torch.int64)
    with torch.no_grad():
        loss_BT = model(tokens_BT[:, :-1], tokens_BT[:, 1:], 1)
    print(f"{artifact.size_bytes:,} bytes, {artifact.quantized.weights:,} weights")
    print(f"{float(loss_BT.mean()):.4f} nats per token for eight zeros")
    for name, digest in artifact.made_from.items():
        print(f"made from {name} {digest}")
    modules = [name for name in sys.modules if name.startswith("bytecap.")]
    heavy = [name for name in sys.modules if name.startswith(HEAVY)]
    print(f"{len(modules)} modules of bytecap, of the heavy side {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    main()
