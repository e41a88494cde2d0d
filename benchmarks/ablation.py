"""What each part of a recipe is worth: the recipe without it, and a base with nothing but it, at equal CPU time.

usage: python benchmarks/ablation.py [RECIPE] [--base baseline] [--text PATH...] [--track laptop] [--steps 400]
           [--seeds 0,1] [--out FOLDER]

The parts are found: each technique that one of the two recipes has and the other has not, and each setting of text,
model and training in which they differ (settings that belong together are one part). For each part RECIPE is trained
with the base's value of it, and the base with RECIPE's; besides both as they are. RECIPE trains for --steps, the others
for as many as take the same processor seconds of one thread: before anything is trained, all take their steps by turns
for some rounds, so that other work falls on all alike. All are scored as RECIPE is, from the checkpoint, before fitting
and without adapting. A finished run of the same settings is read instead of made again.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from spread import mean_and_half_range

from bytecap.core.digest import digest_json
from bytecap.core.products import bfloat16_operands
from bytecap.core.progress import Part
from bytecap.core.settings_writer import digest_settings
from bytecap.model.spec import ModelSpec
from bytecap.report.console import Console
from bytecap.run import pipeline
from bytecap.run import recipe as recipes
from bytecap.run.folder import RECIPE, TOKENS
from bytecap.run.recipe import Recipe
from bytecap.run.scoring import build_validation, score_model
from bytecap.text.tokens import Tokens
from bytecap.train.checkpoint import trained_model
from bytecap.train.config import BFLOAT16
from bytecap.train.loop import Trainer, TrainingJob

TOGETHER = {"text": ("text",), "batch and context": ("train.batch", "train.context", "train.micro_batch")}
"""Parts of more than one setting, by the beginnings of their names."""
IGNORED = ("run", "source", "quant", "artifact", "score")
TECHNIQUES = "model.techniques."
ROUNDS, WARM_UP = 10, 3
"""Rounds of steps by turns, and how many of them do not count."""
Table = dict[str, Any]


def main() -> None:
    """Make what is missing, then print the table."""
    options = _options()
    torch.set_num_threads(1)
    full, base = (_table(name, options) for name in (options.recipe, options.base))
    base["score"] = copy.deepcopy(full["score"])
    variants = dict(_variants(full, base, options))
    steps = _steps(variants, options)
    found = {
        name: [_bits_per_byte(name, table, steps[name], seed, options) for seed in options.seeds.split(",")]
        for name, table in variants.items()
    }
    print(f"processor seconds of {options.steps} steps of {options.recipe}, seeds {options.seeds}")
    print("| run | steps | bits per byte | difference |\n|---|---:|---:|---:|")
    for name, values in found.items():
        to = found[options.recipe if name.startswith(options.recipe) else options.base]
        gaps = [value - other for value, other in zip(values, to, strict=True)]
        print(f"| {name} | {steps[name]:,} | {mean_and_half_range(values)} | {mean_and_half_range(gaps, '+.4f')} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="laptop_best", help="the recipe whose parts are weighed")
    parser.add_argument("--base", default="baseline", help="the recipe that has none of them")
    parser.add_argument("--track", default="laptop", help="budget and scale")
    parser.add_argument("--text", nargs="+", help="files, folders or globs; without it Python's standard library")
    parser.add_argument("--steps", type=int, default=400, help="of RECIPE; the others get as many seconds")
    parser.add_argument("--seeds", default="0,1", help="separated by commas")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="where the runs lie")
    return parser.parse_args()


def _table(name: str, options: argparse.Namespace) -> Table:
    recipe = recipes.resolve(name, track=options.track, text=options.text)
    return copy.deepcopy(recipe.to_json())


def _variants(full: Table, base: Table, options: argparse.Namespace) -> Iterator[tuple[str, Table]]:
    """Both recipes, and each of them with one part of the other."""
    flat = {options.recipe: _flat(full), options.base: _flat(base)}
    parts = _parts(*flat.values())
    yield options.recipe, full
    for name, keys in parts.items():
        yield f"{options.recipe}, {name} as in {options.base}", _with(full, keys, flat[options.base])
    yield options.base, base
    for name, keys in parts.items():
        yield f"{options.base}, {name} as in {options.recipe}", _with(base, keys, flat[options.recipe])


def _flat(table: Table, path: str = "") -> Table:
    """Settings by their full names; those of a technique are one value."""
    found: Table = {}
    for key, value in table.items():
        name = f"{path}{key}"
        if isinstance(value, dict) and path != TECHNIQUES:
            found |= _flat(value, f"{name}.")
        elif name.split(".")[0] not in IGNORED:
            found[name] = value
    return found


def _parts(full: Table, base: Table) -> dict[str, list[str]]:
    """Names of the settings that differ, by the part that they belong to."""
    parts: dict[str, list[str]] = {}
    for key in sorted(full.keys() | base.keys()):
        if full.get(key) != base.get(key):
            name = next((name for name, begins in TOGETHER.items() if key.startswith(begins)), key.split(".")[-1])
            parts.setdefault(name, []).append(key)
    return parts


def _with(table: Table, keys: list[str], other: Table) -> Table:
    """The table with the other's values of some settings; what the other has not is taken out."""
    made = copy.deepcopy(table)
    for key in keys:
        *path, last = key.split(".")
        place = made
        for step in path:
            place = place[step]
        if other.get(key) is None:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(other[key])
    made["score"]["context"] = made["train"]["context"]
    return made


def _recipe(table: Table, steps: int, seed: str) -> Recipe:
    """A recipe that trains for some steps."""
    made = copy.deepcopy(table)
    made["train"] |= {"steps": steps}
    made["run"] |= {"seed": int(seed)}
    return recipes.validate(_without_none(made), origin="a variant")


def _without_none(table: Table) -> Table:
    kept = {key: value for key, value in table.items() if value is not None}
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in kept.items()}


def _steps(variants: dict[str, Table], options: argparse.Namespace) -> dict[str, int]:
    """How many steps take each as long as RECIPE's; kept in the folder."""
    known = options.out / f"steps-{digest_json([variants, options.steps])}.json"
    if not known.exists():
        with tempfile.TemporaryDirectory() as folder:
            trainers = {}
            for name, table in variants.items():
                trainers[name] = _trainer(_recipe(table, options.steps, "0"), Path(folder) / _slug(name), options)
            seconds: dict[str, list[float]] = {name: [] for name in trainers}
            for _ in range(ROUNDS):
                for name, trainer in trainers.items():
                    begin = time.process_time()
                    with bfloat16_operands(trainer.config.matmul_precision == BFLOAT16):
                        trainer._step(0.5)
                    seconds[name].append(time.process_time() - begin)
        made = {}
        for name, taken in seconds.items():
            ratios = [whole / its for whole, its in zip(seconds[options.recipe], taken, strict=True)]
            made[name] = round(options.steps * statistics.median(ratios[WARM_UP:]))
        known.write_text(json.dumps(made))
    found: dict[str, int] = json.loads(known.read_text())
    return found


def _trainer(recipe: Recipe, folder: Path, options: argparse.Namespace) -> Trainer:
    """One that stands before its first step."""
    tokens = _tokens(recipe, folder, options)
    job = TrainingJob(
        config=recipe.train, spec=ModelSpec.of(recipe.model, tokens.vocab_size), stream=tokens.train_stream(),
        bos=tokens.tokenizer.bos, seed=0, tokens="", made_from=("",),
    )  # fmt: skip
    return Trainer(job, folder, torch.device("cpu"), Console(quiet=True))


def _bits_per_byte(name: str, table: Table, steps: int, seed: str, options: argparse.Namespace) -> float:
    """Of the checkpoint, scored as the recipe says; kept in the folder."""
    recipe, folder = _recipe(table, steps, seed), options.out / f"run-{seed}"
    known = options.out / f"{_slug(name)}-{seed}-{recipe.digest}.json"
    if not known.exists():
        shutil.rmtree(folder, ignore_errors=True)
        tokens = _tokens(recipe, folder, options)
        pipeline.train_stage(recipe, tokens, folder, torch.device("cpu"), Console(quiet=True))
        validation = build_validation(recipe, tokens)
        score = score_model(validation, trained_model(folder)[0], recipe, Part(Console(quiet=True), "before", 0, 1))
        known.write_text(json.dumps({"bits_per_byte": score.bits_per_byte, "steps": steps}))
    value = float(json.loads(known.read_text())["bits_per_byte"])
    print(f"# {name}, seed {seed}: {value:.4f}", flush=True)
    return value


def _tokens(recipe: Recipe, folder: Path, options: argparse.Namespace) -> Tokens:
    """Tokens of a new run folder, which runs of the same text share."""
    folder.mkdir(parents=True)
    recipes.save(recipe, folder / RECIPE)
    shared = options.out / f"text-{digest_settings(recipe.text)}"
    if not shared.exists():
        pipeline.prepare_stage(recipe, shared.with_suffix(".part"), Console(quiet=True))
        shared.with_suffix(".part").rename(shared)
    return pipeline.prepare_stage(recipe, folder, Console(quiet=True), shared / TOKENS)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


if __name__ == "__main__":
    main()
