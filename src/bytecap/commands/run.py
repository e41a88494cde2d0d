"""`bytecap run`: text in, fitted and scored model out."""

from __future__ import annotations

from pathlib import Path

from bytecap.commands.common import (
    Device,
    Json,
    Out,
    Quiet,
    RecipeName,
    Seed,
    Set,
    Text,
    Track,
    Verb,
    resolve_recipe,
    run_folder,
)
from bytecap.commands.output import print_result
from bytecap.core.distributed import from_main, joined, together, world
from bytecap.report.console import Console
from bytecap.report.tables import summary


@joined()
def run(
    recipe: RecipeName = None,
    *,
    track: Track = "laptop",
    text: Text = None,
    set_: Set = None,
    seed: Seed = 0,
    out: Out = None,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Text in, fitted and scored model out: every stage in turn."""
    with together():
        resolved = resolve_recipe(recipe, track, seed, set_, text, out)
    from bytecap.run import pipeline

    folder = Path(from_main(lambda: str(run_folder(resolved, out))))
    record = pipeline.run(resolved, folder, device, Console(quiet=quiet or not world().is_main))
    print_result(record, json, summary(record, str(folder)))


VERB = Verb(
    run,
    (
        "bytecap run --text my_folder --set artifact.cap_bytes=100kB --out runs/mine",
        "bytecap run baseline --track laptop --set train.seconds=60 --json",
    ),
)
