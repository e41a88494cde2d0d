"""What Python code calls: every rule of a set asked of a run, a file, or any model.

In:   a run folder, a `.bcap` file, a predictor, or a Subject.
Out:  an AuditReport.
"""

from __future__ import annotations

from pathlib import Path

from bytecap.auditing.findings import AuditReport
from bytecap.auditing.hugging_face import GivenTexts, hugging_face_subject
from bytecap.auditing.job import audit_subject
from bytecap.auditing.rules import STANDARD, load_rules
from bytecap.auditing.run_subject import file_subject, predictor_subject, run_subject
from bytecap.auditing.subject import Subject
from bytecap.core.errors import DataError
from bytecap.core.progress import Progress, Silent
from bytecap.huggingface.folder import CONFIG
from bytecap.huggingface.scored import Opening
from bytecap.run.folder import RECIPE, find_model
from bytecap.scoring.predictor import Predictor, checked_predictor
from bytecap.text.config import TextConfig
from bytecap.text.tokenizer import Tokenizer


def audit(
    subject: Subject | Predictor | str | Path,
    *,
    rules: str = STANDARD,
    text: str | Path | TextConfig | None = None,
    training_text: str | Path | TextConfig | None = None,
    tokenizer: Tokenizer | str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> AuditReport:
    """Ask every rule of a set, as `bytecap audit` does; nothing is raised for a broken one, the report says so.

    `subject` is a run folder; a `.bcap` file; a Hugging Face folder; any object with the members of
    `bytecap.Predictor`, with the `tokenizer` that its tokens are of; or a Subject (`bytecap.auditing.subject`), which
    holds whatever else is known of a score: how it goes through the text, files, seconds. `text` and `training_text` go
    with a file or an object alone; rules that need what is not given are not asked, and say so. `seed` draws the
    positions, tokens and documents.

    Raises ConfigError for an unknown rule set, a seed that no generator takes and an object that is no predictor or has
    no tokenizer, DataError for text that cannot be used, FormatError for a damaged file.

    >>> import bytecap
    >>> report = bytecap.audit("model.bcap")
    >>> [finding.rule for finding in report.broken]
    []
    >>> report.findings[0].answer.verdict in ("kept", "recorded", "not asked", "broken")
    True
    """
    rule_set, progress = load_rules(rules), progress or Silent()
    if not isinstance(subject, Subject):
        given = GivenTexts(_reading(text), _reading(training_text))
        if isinstance(subject, (str, Path)):
            subject = _opened(Path(subject), given, progress)
        else:
            read = Tokenizer.read(Path(tokenizer)) if isinstance(tokenizer, (str, Path)) else tokenizer
            subject = predictor_subject(checked_predictor(subject), given, read, progress)
    return audit_subject(subject, rule_set, seed=seed, progress=progress)


def _opened(path: Path, given: GivenTexts, progress: Progress) -> Subject:
    if (path / CONFIG).is_file() and not (path / RECIPE).is_file():
        return hugging_face_subject(Opening(origin=path), path, given, progress)
    file = find_model(path) if path.is_dir() else path
    if not file.is_file():
        raise DataError(f"{file} does not exist; give a .bcap file or the folder of a run")
    if (file.parent / RECIPE).is_file() and given == GivenTexts():
        return run_subject(file.parent, file)
    return file_subject(file, given, device="auto", progress=progress)


def _reading(text: str | Path | TextConfig | None) -> TextConfig | None:
    return text if text is None or isinstance(text, TextConfig) else TextConfig(paths=(str(text),))
