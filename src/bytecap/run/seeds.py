"""One recipe with several seeds: a run folder for each below one folder, tokens prepared once, mean and spread.

In:   resolved recipes that differ in the seed, and a folder.
Out:  OUT/seed-0, OUT/seed-1, ... as finished run folders, and what their scores say together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bytecap.core.distributed import from_main
from bytecap.core.errors import ConfigError
from bytecap.report.console import Console
from bytecap.run import pipeline
from bytecap.run.compared_runs import read_runs, summarize_runs
from bytecap.run.folder import RECIPE, SEED_FOLDER, TOKENS
from bytecap.run.recipe import Recipe, load
from bytecap.text.tokens import MANIFEST

SEEDS = "--seeds"
MAX_SEEDS = 1000
"""The largest number of seeds that one command runs."""


def parse_seeds(text: str) -> list[int]:
    """Seeds from `0,1,2`; ConfigError for anything but whole numbers, each once."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words) or len(words) > MAX_SEEDS:
        raise ConfigError(f"--seeds is {text[:40]!r}; it must be whole numbers with commas between, such as 0,1,2")
    seeds = [int(word) for word in words]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds names a seed twice: {text[:40]}; the same run twice says nothing of the spread")
    return seeds


def seed_folder(folder: Path, seed: int) -> Path:
    """The run folder of one seed; ConfigError where `folder` is a run folder itself."""
    if (folder / RECIPE).exists():
        raise ConfigError(f"{folder} holds a run of one seed; choose another --out for several, or leave out --seeds")
    return folder / f"{SEED_FOLDER}{seed}"


def run_seeds(recipes: Mapping[int, Recipe], folder: Path, device_name: str, console: Console) -> dict[str, Any]:
    """Run every seed in turn, going on where an earlier call stopped. Returns rows, mean and spread as JSON values.

    Tokens are prepared once if the text and its settings are the same. Raises what `pipeline.run` raises.
    """
    folders = {seed: seed_folder(folder, seed) for seed in recipes}
    for seed, recipe in recipes.items():
        console.note(f"seed {seed}: {folders[seed]}")
        shared = from_main(partial(_prepared, recipe, folders.values()))
        pipeline.run(recipe, folders[seed], device_name, console, tokens_from=None if shared is None else Path(shared))
    return from_main(lambda: {"folder": str(folder), **summarize_runs(read_runs([*folders.values()], SEEDS))})


def _prepared(recipe: Recipe, folders: Iterable[Path]) -> str | None:
    """A folder of tokens made of the same text with the same settings, if there is one."""
    for folder in folders:
        if (folder / TOKENS / MANIFEST).is_file() and load(folder / RECIPE).text == recipe.text:
            return str(folder / TOKENS)
    return None
