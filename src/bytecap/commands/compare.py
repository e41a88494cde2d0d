"""`bytecap compare`: two sets of runs to a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from bytecap.commands.common import ARGUMENTS, SETTINGS, Json, Verb, option
from bytecap.commands.output import print_result

Runs = Annotated[list[Path], option(ARGUMENTS, "Runs of one recipe: folders, of one seed or several, or record.json.")]
Against = Annotated[list[Path], option(ARGUMENTS, "The runs to compare with.", name="--against", consume_multiple=True)]
ScoreName = Annotated[str | None, option(SETTINGS, "A key of the records' scores; adapted if all have it, else after.")]
ContestName = Annotated[
    str | None, option(SETTINGS, "Also ask a contest's bar: parameter_golf_2026, or a path to a TOML file.")
]


def compare(
    runs: Runs, /, *, against: Against, score: ScoreName = None, contest: ContestName = None, json: Json = False
) -> None:
    """Is one set of runs better than another: mean, spread, tests, equal bytes, and a verdict in a sentence."""
    from bytecap.run.compare import compare as compare_runs

    found = compare_runs(runs, against, score=score, contest=contest)
    print_result(found.to_json(), json, str(found))


VERB = Verb(
    compare,
    (
        "bytecap compare runs/a --against runs/b",
        "bytecap compare runs/a/record.json --against runs/b --contest parameter_golf_2026 --json",
    ),
)
