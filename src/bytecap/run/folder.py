"""A run folder: the recipe that owns it, the products in it, and the seconds of each stage.

In:   a resolved recipe and a path.
Out:  the folder with `recipe.toml`, refused to any other recipe; names of its files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from bytecap.core.distributed import from_main, together, world
from bytecap.core.errors import BackendError, ConfigError, DataError
from bytecap.core.files import make_folder, read_object, write_json
from bytecap.core.lock import LOCK, writing
from bytecap.fitting.report import report_path
from bytecap.run import recipe as recipes
from bytecap.run.recipe import Recipe
from bytecap.text.tokens import MANIFEST
from bytecap.train.checkpoint import CHECKPOINT, load_training_state
from bytecap.train.loop import METRICS

RECIPE, TOKENS, MODEL = "recipe.toml", "tokens", "model.bcap"
COMPARED = "compared.bcap"
"""The other fit of the same weights: the published scheme's where the model is ours, and the other way round."""
CALIBRATION = "calibration.safetensors"
UNFINISHED_SCORE = "unfinished-score"
"""Folder of what is kept of an adapted score until it is whole."""
SCORE, RECORD, SECONDS, LOG = "score.json", "record.json", "seconds.json", "log.txt"
SEED_FOLDER = "seed-"
"""How the run folders of several seeds begin, each followed by its seed."""

_FITS = tuple(name for file in (MODEL, COMPARED) for name in (file, report_path(Path(file)).name))
OWN = (RECIPE, TOKENS, METRICS, *_FITS, CHECKPOINT, CALIBRATION, SCORE, RECORD, SECONDS, LOG, LOCK, UNFINISHED_SCORE)
"""The files that only the stages of a run write."""
_PRODUCTS = (f"{TOKENS}/{MANIFEST}", CHECKPOINT, MODEL, RECORD)
"""What makes a folder worth keeping for its recipe: one that failed before is free for corrected settings."""


_DESCRIPTIONS = ("source.", "run.summary")
"""Keys of a recipe that change no product, and so make no folder another one's."""


def claim_folder(recipe: Recipe, folder: Path) -> Recipe:
    """Claim a run folder for a recipe; ConfigError if it holds products of another recipe.

    Returns the recipe in the folder, whose descriptions may be those of an older version.
    """
    from_main(lambda: _claim(recipe, folder))
    with together():
        return recipes.load(folder / RECIPE)


def _claim(recipe: Recipe, folder: Path) -> None:
    path = folder / RECIPE
    if path.exists():
        there = recipes.load(path)
        if there.digest == recipe.digest:
            return
        if any((folder / name).exists() for name in _PRODUCTS):
            found = differences(there.to_json(), recipe.to_json())
            keys = ", ".join([key for key in found if not is_description(key)][:5])
            raise ConfigError(
                f"{folder} holds a run of another recipe (digest {there.digest}, this is {recipe.digest}; differing: "
                f"{keys}). Choose another --out, or repeat the settings of that run to continue it"
            )
    make_folder(folder)
    recipes.save(recipe, path)


def find_model(folder: Path) -> Path:
    """The model of a run folder; DataError that names the next verb where there is none yet."""
    path = folder / MODEL
    if path.is_file():
        return path
    if not (folder / RECIPE).is_file():
        raise DataError(f"{folder} is not a run folder: it has no {RECIPE}; give a .bcap file or the folder of a run")
    if not (folder / TOKENS / MANIFEST).is_file():
        found, verb = "its text has not been prepared", "run `bytecap run` or `bytecap prepare` with the same --out"
    elif not (folder / CHECKPOINT).is_file() or not load_training_state(folder / CHECKPOINT).finished:
        found, verb = "its model has not been trained to the end", f"run `bytecap train {folder}`, then `bytecap fit`"
    else:
        found, verb = "its model has not been fitted", f"run `bytecap fit {folder}`"
    raise DataError(f"{folder} has no {MODEL}: {found}; {verb}", path=str(path))


@contextmanager
def writing_run(folder: Path) -> Iterator[None]:
    """Lock `folder` for this run, of whose processes rank 0 writes; raises what `core.lock.writing` raises."""
    with ExitStack() as held:
        from_main(lambda: held.enter_context(writing(folder)))
        yield


@contextmanager
def timed(folder: Path, stage: str) -> Iterator[None]:
    """Adds the seconds inside to `seconds.json`, also when the stage is left by an error."""
    if not world().is_main:
        yield
        return
    before, begin = load_seconds(folder), time.perf_counter()

    def save() -> None:
        spent = time.perf_counter() - begin
        write_json(folder / SECONDS, {**before, stage: before.get(stage, 0.0) + spent})

    try:
        yield
    except BaseException:
        with suppress(BackendError):  # what has ended the stage is worth more than its seconds
            save()
        raise
    save()


def load_seconds(folder: Path) -> dict[str, float]:
    """Seconds of every stage that has worked in `folder`; DataError when its file holds anything else."""
    path = folder / SECONDS
    return read_object(path, {...: float}) if path.exists() else {}


def is_description(key: str) -> bool:
    """Return whether a dotted key of a recipe changes no product."""
    return key.startswith(_DESCRIPTIONS)


def differences(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted paths at which two recipes differ."""
    found: list[str] = []
    for key in {**one, **other}:
        a, b = one.get(key), other.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found
