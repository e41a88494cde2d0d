"""A run so small that it takes seconds, through the command line, for every test that needs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bytecap.commands.app import main

SETTINGS = {
    "text.vocab_size": 300, "text.validation_fraction": 0.3,
    "model.n_layers": 2, "model.d_model": 16, "model.d_ff": 32,
    "train.steps": 40, "train.batch": 4, "train.context": 32, "train.checkpoint_seconds": 0.2,
    "artifact.cap_bytes": 9000,
    "score.stride": 8,
}  # fmt: skip


def arguments(corpus: Path, out: Path, **changes: Any) -> list[str]:
    sets = [f"--set={key}={value}" for key, value in {**SETTINGS, **changes}.items()]
    return ["run", "baseline", "--text", str(corpus), "--out", str(out), "--device", "cpu", *sets]


def call(*given: str | Path) -> int:
    """Exit code of one command."""
    try:
        main([str(g) for g in given])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
