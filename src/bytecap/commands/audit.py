"""`bytecap audit`: every rule of an honest score, asked of a run or a file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

from bytecap.commands.common import (
    SETTINGS,
    Artifact,
    Device,
    Json,
    Quiet,
    Text,
    Verb,
    find_artifact,
    option,
    refuse_empty_text,
    whole_number,
)
from bytecap.commands.output import print_result, warn
from bytecap.core.errors import RuleError
from bytecap.report.console import Console

if TYPE_CHECKING:
    from bytecap.text.config import TextConfig

TrainingText = Annotated[
    list[str] | None,
    option(SETTINGS, "What a file alone was trained on.", name="--training-text", consume_multiple=True),
]


def audit(
    path: Artifact,
    *,
    rules: Annotated[str, option(SETTINGS, "A set of rules: a name, or a path ending in .toml.")] = "standard",
    text: Text = None,
    training_text: TrainingText = None,
    seed: Annotated[int, whole_number(SETTINGS, "Draws the positions, tokens and documents that are asked about.")] = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask every rule of an honest score of a run folder or a .bcap file: rule, verdict, evidence, figure.

    Rules that need what is not at hand are not asked, and say so. Leaves with exit code 6 when a rule is broken.
    """
    from bytecap.auditing.job import audit_subject
    from bytecap.auditing.rules import load_rules
    from bytecap.auditing.run_subject import GivenTexts, file_subject, run_subject
    from bytecap.auditing.table import audit_table, last_line

    rule_set = load_rules(rules)
    refuse_empty_text(text)
    refuse_empty_text(training_text)
    file, folder = find_artifact(path)
    console = Console(quiet=quiet)
    with console.stage("audit"):
        if folder is not None and text is None and training_text is None:
            subject = run_subject(folder, file, device=device)
        else:
            subject = file_subject(
                file, GivenTexts(_reading(text), _reading(training_text)), device=device, progress=console
            )
        report = audit_subject(subject, rule_set, seed=seed, progress=console)
    print_result(report.to_json(), json, audit_table(report))
    if report.broken:
        warn(f"{', '.join(finding.rule for finding in report.broken)} broken; {last_line(report)}")
        raise SystemExit(RuleError.exit_code)


def _reading(text: list[str] | None) -> TextConfig | None:
    from bytecap.text.config import TextConfig

    return None if text is None else dataclasses.replace(TextConfig(), paths=tuple(text))


VERB = Verb(audit, ("bytecap audit runs/demo", "bytecap audit model.bcap --text my.txt --training-text my_folder"))
