"""`bytecap run`: text in, fitted and scored model out."""

from __future__ import annotations

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
from bytecap.report.console import Console
from bytecap.report.tables import summary


def run(
    recipe: RecipeName = "baseline",
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
    resolved = resolve_recipe(recipe, track, seed, set_, text)
    from bytecap.run import pipeline

    folder = run_folder(resolved, out)
    record = pipeline.run(resolved, folder, device, Console(quiet=quiet))
    print_result(record, json, summary(record, str(folder)))


VERB = Verb(
    run,
    (
        "bytecap run --text my_folder --set artifact.cap_bytes=100kB --out runs/mine",
        "bytecap run baseline --track laptop --set train.seconds=60 --json",
    ),
)
