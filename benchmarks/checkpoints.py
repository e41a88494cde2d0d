"""The checkpoints that the figures in docs/fit.md were measured on, trained here.

usage: python benchmarks/checkpoints.py DATA OUT [NAME ...]

DATA holds public web text as `.jsonl.gz` (FineWeb samples, OpenWebText, C4, the head of the contest's training text).
Run folders OUT/a, OUT/b and OUT/c appear; a finished one is left alone, an unfinished one goes on.

  a   the demo's: 0.47 M weights, the standard library's sources, 195 s
  b   0.52 M weights, 5,300 steps of 2,048 tokens, more than 20 tokens for each weight
  c   2.62 M weights, 2,430 s
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

TEXT = (
    "fineweb_sample10bt/*.jsonl.gz", "fineweb_head/*.jsonl.gz", "openwebtext/*.jsonl.gz", "c4/*.jsonl.gz",
    "parameter_golf/train_head_text.jsonl.gz",
)  # fmt: skip
WEB = ("text.vocab_size=1024", "text.validation_bytes=524288")
SETTINGS = {
    "a": (),
    "b": (*WEB, "model.d_model=128", "model.n_heads=2", "model.n_kv_heads=2", "train.steps=5300"),
    "c": (
        *WEB, "model.n_layers=3", "model.d_model=256", "model.n_heads=4", "model.n_kv_heads=4", "model.d_ff=1024",
        "train.seconds=2430",
    ),
}  # fmt: skip


def main() -> None:
    """Prepare and train each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", default=list(SETTINGS))
    given = parser.parse_args()
    for name in given.names:
        folder = given.out / name
        command = [sys.executable, "-m", "bytecap", "prepare", "baseline", "--out", str(folder)]
        if SETTINGS[name]:
            command += ["--text", *[str(given.data / pattern) for pattern in TEXT]]
        for setting in SETTINGS[name]:
            command += ["--set", setting]
        subprocess.run(command, check=True)
        subprocess.run([sys.executable, "-m", "bytecap", "train", str(folder)], check=True)


if __name__ == "__main__":
    main()
