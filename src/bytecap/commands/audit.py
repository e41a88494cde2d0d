"""`bytecap audit`: every rule of an honest score, asked of a run or a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bytecap.commands.common import (
    SETTINGS,
    Device,
    Json,
    Quiet,
    Scored,
    TokenizerPath,
    TrustCode,
    Verb,
    find_artifact,
    is_model_folder,
    option,
    refuse_empty_text,
    text_option,
    whole_number,
)
from bytecap.commands.output import print_result, warn
from bytecap.core.errors import ConfigError, RuleError
from bytecap.report.console import Console

if TYPE_CHECKING:
    from bytecap.huggingface.scored import Opening
    from bytecap.text.config import TextConfig

TrainingText = Annotated[
    list[str] | None,
    option(SETTINGS, "What a file alone was trained on.", name="--training-text", consume_multiple=True),
]


def audit(
    path: Scored,
    *,
    rules: Annotated[str, option(SETTINGS, "A set of rules: a name, or a path ending in .toml.")] = "standard",
    text: Annotated[list[str] | None, text_option("What a file or folder is asked about")] = None,
    training_text: TrainingText = None,
    seed: Annotated[int, whole_number(SETTINGS, "Draws the positions, tokens and documents that are asked about.")] = 0,
    tokenizer: TokenizerPath = None,
    trust_code: TrustCode = False,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask every rule of an honest score of a run, a file or a Hugging Face folder: rule, verdict, evidence, figure.

    Rules that need what is not available are not asked, and say so. Exits with code 6 if a rule is broken.
    """
    from bytecap.auditing.hugging_face import GivenTexts, hugging_face_subject
    from bytecap.auditing.job import audit_subject
    from bytecap.auditing.rules import load_rules
    from bytecap.auditing.run_subject import file_subject, run_subject
    from bytecap.auditing.table import audit_table, last_line

    rule_set = load_rules(rules)
    refuse_empty_text(text)
    refuse_empty_text(training_text)
    file, folder = (path, None) if is_model_folder(path) else find_artifact(path)
    console = Console(quiet=quiet)
    with console.stage("audit"):
        given = GivenTexts(_reading(text), _reading(training_text))
        opening = _opening(file, tokenizer, trust_code, device)
        if opening is not None:
            subject = hugging_face_subject(opening, file, given, console)
        elif folder is not None and text is None and training_text is None:
            subject = run_subject(folder, file, device=device)
        else:
            subject = file_subject(file, given, device=device, progress=console)
        report = audit_subject(subject, rule_set, seed=seed, progress=console)
    print_result(report.to_json(), json, audit_table(report))
    if report.broken:
        warn(f"{', '.join(finding.rule for finding in report.broken)} broken; {last_line(report)}")
        raise SystemExit(RuleError.exit_code)


def _opening(path: Path, tokenizer: Path | None, trust_code: bool, device: str) -> Opening | None:
    """How a Hugging Face model is opened; None for one of ours, which has its tokenizer in the file or the run."""
    from bytecap.artifact.load import load
    from bytecap.huggingface.model import is_hugging_face
    from bytecap.huggingface.scored import Opening

    origin = path if path.is_dir() else load(path)
    if isinstance(origin, Path) or is_hugging_face(origin):
        return Opening(origin=origin, tokenizer=tokenizer, device=device, trust_code=trust_code)
    if tokenizer is not None or trust_code:
        raise ConfigError("--tokenizer and --trust-remote-code go with Hugging Face models; leave them out")
    return None


def _reading(text: list[str] | None) -> TextConfig | None:
    from bytecap.text.config import TextConfig

    return None if text is None else dataclasses.replace(TextConfig(), paths=tuple(text))


VERB = Verb(audit, ("bytecap audit runs/demo", "bytecap audit model.bcap --text my.txt --training-text my_folder"))
