"""One checkpoint in the same number of bytes: our fit, and the best published recipe.

usage: python examples/compare_schemes.py [RUN] [CAP]      such as runs/demo 100kB; by default a small run is made first
"""

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bytecap.commands.app import main as bytecap

SMALL = [
    "text.vocab_size=300", "model.n_layers=2", "model.d_model=32", "model.d_ff=64", "train.steps=30", "train.batch=4",
    "train.context=64", "quant.calibration_tokens=2048", "artifact.cap_bytes=16kB",
]  # fmt: skip
WAYS = {"bytecap": [], "best_published": ["--scheme", "best_published", "--keep-small", "0"]}


def call(*words: str) -> dict[str, Any]:
    """What a command prints with --json."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        bytecap([*words, "--json", "--quiet"])
    found: dict[str, Any] = json.loads(said.getvalue())
    return found


def main() -> None:
    """A line for each way."""
    with tempfile.TemporaryDirectory() as folder:
        run, cap = (*sys.argv[1:], "", "")[:2]
        if not run:
            text, run, cap = Path(__file__).parents[1] / "docs", f"{folder}/run", "16kB"
            call("run", "--text", str(text), "--out", run, *(f"--set={setting}" for setting in SMALL))
        print(f"{'scheme':<16}{'bytes':>9}{'KL to the original, nats per token':>37}")
        for name, options in WAYS.items():
            out = f"{folder}/{name}.bcap"
            (report,) = call("fit", run, "--cap", cap or "100kB", "--out", out, *options)["fitted"]
            print(f"{name:<16}{report['bytes']:>9,}{report['divergence']['kl']:>37.5f}")


if __name__ == "__main__":
    main()
