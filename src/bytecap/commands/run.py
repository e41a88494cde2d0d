"""`bytecap run`: text in, fitted and scored model out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from bytecap.commands.common import RUN_OPTIONS, SETTINGS, Device, RecipeName, RunOptions, Verb, option
from bytecap.commands.output import print_result
from bytecap.core.distributed import from_main, joined, together, world
from bytecap.core.errors import ConfigError
from bytecap.report.console import Console
from bytecap.report.tables import summary

Seeds = Annotated[str | None, option(SETTINGS, "Several, such as 0,1,2: a run for each, in OUT/seed-0 and so on.")]


@joined()
def run(
    recipe: RecipeName = None,
    *,
    options: RunOptions = RUN_OPTIONS,
    device: Device = "auto",
    seeds: Seeds = None,
) -> None:
    """Text in, fitted and scored model out: every stage in turn."""
    if seeds is not None:
        _run_seeds(recipe, options, device, seeds)
        return
    with together():
        resolved = options.resolve(recipe)
    from bytecap.run import pipeline

    folder = Path(from_main(lambda: str(options.folder(resolved))))
    record = pipeline.run(resolved, folder, device, Console(quiet=options.quiet or not world().is_main))
    print_result(record, options.json, summary(record, str(folder)))


def _run_seeds(recipe: str | None, options: RunOptions, device: str, seeds: str) -> None:
    """A run for each seed, and their mean and spread."""
    from bytecap.report.comparison import runs_table
    from bytecap.run.seeds import parse_seeds, run_seeds, seed_folder

    with together():
        numbers = parse_seeds(seeds)
        if options.seed:
            raise ConfigError(f"--seed {options.seed} and --seeds {seeds} are both given; put all seeds into --seeds")
        recipes = {}
        for seed in numbers:
            out = None if options.out is None else seed_folder(options.out, seed)
            recipes[seed] = dataclasses.replace(options, seed=seed, out=out).resolve(recipe)
    folder = Path(from_main(lambda: str(options.folder(recipes[numbers[0]]))))
    found = run_seeds(recipes, folder, device, Console(quiet=options.quiet or not world().is_main))
    print_result(
        found, options.json, f"{runs_table({'': found})}\n\ncompare: bytecap compare {folder} --against RUN..."
    )


VERB = Verb(
    run,
    (
        "bytecap run --text my_folder --set artifact.cap_bytes=100kB --out runs/mine",
        "bytecap run --text my_folder --seeds 0,1,2 --out runs/three",
        "bytecap run baseline --track laptop --set train.seconds=60 --json",
    ),
)
