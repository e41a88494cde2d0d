"""`bytecap run`: text in, fitted and scored model out."""

from __future__ import annotations

from pathlib import Path

from bytecap.commands.common import RUN_OPTIONS, Device, RecipeName, RunOptions, Verb
from bytecap.commands.output import print_result
from bytecap.core.distributed import from_main, joined, together, world
from bytecap.report.console import Console
from bytecap.report.tables import summary


@joined()
def run(
    recipe: RecipeName = None,
    *,
    options: RunOptions = RUN_OPTIONS,
    device: Device = "auto",
) -> None:
    """Text in, fitted and scored model out: every stage in turn."""
    with together():
        resolved = options.resolve(recipe)
    from bytecap.run import pipeline

    folder = Path(from_main(lambda: str(options.folder(resolved))))
    record = pipeline.run(resolved, folder, device, Console(quiet=options.quiet or not world().is_main))
    print_result(record, options.json, summary(record, str(folder)))


VERB = Verb(
    run,
    (
        "bytecap run --text my_folder --set artifact.cap_bytes=100kB --out runs/mine",
        "bytecap run baseline --track laptop --set train.seconds=60 --json",
    ),
)
