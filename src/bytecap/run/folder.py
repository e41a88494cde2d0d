"""A run folder: whose it is, what stands in it, and how long each room worked.

In:   a resolved recipe and a path.
Out:  the folder with `recipe.toml`, refused to any other recipe; names of its files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bytecap.core.errors import ConfigError
from bytecap.core.files import make_folder, read_json, write_json
from bytecap.run import recipe as recipes
from bytecap.run.recipe import Recipe
from bytecap.text.tokens import MANIFEST
from bytecap.train.checkpoint import CHECKPOINT

RECIPE, TOKENS, METRICS, MODEL = "recipe.toml", "tokens", "metrics.jsonl", "model.bcap"
CALIBRATION = "calibration.safetensors"
SCORE, RECORD, SECONDS, LOG = "score.json", "record.json", "seconds.json", "log.txt"


def report_path(model: Path) -> Path:
    """Where the report of a fit lie: `small.fit.json` beside `small.bcap`."""
    return model.with_name(f"{model.name.removesuffix('.bcap')}.fit.json")


FIT_REPORT = report_path(Path(MODEL)).name
OWN = (RECIPE, TOKENS, METRICS, MODEL, FIT_REPORT, CHECKPOINT, CALIBRATION, SCORE, RECORD, SECONDS, LOG)
"""What the rooms of a run write, and nobody else."""
_PRODUCTS = (f"{TOKENS}/{MANIFEST}", CHECKPOINT, MODEL, RECORD)
"""What makes a folder worth keeping for its recipe: one that failed before is free for corrected settings."""


def enter(recipe: Recipe, folder: Path) -> None:
    """Make the folder this recipe's; ConfigError when it holds what another one made."""
    path = folder / RECIPE
    if path.exists():
        there = recipes.load(path)
        if there.digest == recipe.digest:
            return
        if any((folder / name).exists() for name in _PRODUCTS):
            keys = ", ".join(_differences(there.to_json(), recipe.to_json())[:5])
            raise ConfigError(
                f"{folder} holds a run of another recipe (digest {there.digest}, this is {recipe.digest}; differing: "
                f"{keys}). Choose another --out, or repeat the settings of that run to continue it"
            )
    make_folder(folder)
    recipes.save(recipe, path)


@contextmanager
def timed(folder: Path, room: str) -> Iterator[None]:
    """Adds the seconds inside to `seconds.json`, also when the room is left by an error."""
    begin = time.perf_counter()
    try:
        yield
    finally:
        path = folder / SECONDS
        seconds = read_json(path) if path.exists() else {}
        write_json(path, {**seconds, room: seconds.get(room, 0.0) + time.perf_counter() - begin})


def _differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted paths at which two recipes differ."""
    found: list[str] = []
    for key in {**one, **other}:
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found
