"""A `.bcap` file into what another program reads: looked at first, written beside its place, read back, then put there.

In:   a file, the name of a target, a path where nothing is.
Out:  a file or a folder, and what became of it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from bytecap.artifact.load import Artifact
from bytecap.core.errors import BackendError, ConfigError
from bytecap.core.files import refuse_place, write_atomic, write_folder
from bytecap.export.source import ExportSource
from bytecap.export.targets import TARGETS
from bytecap.export.targets.base import Target
from bytecap.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Exported:
    """What became of a file."""

    place: str
    target: str
    bytes: int
    """Bytes of all that was written."""
    files: dict[str, int]
    """Names of the files with their bytes."""
    bcap_bytes: int
    """Bytes of the `.bcap` file."""
    checked: str
    """What was compared."""
    notes: list[str]
    """What a reader must know."""

    @property
    def growth(self) -> float:
        """Bytes that were written for each byte of the `.bcap` file."""
        return self.bytes / self.bcap_bytes


def export(
    artifact: Artifact, to: str, out: Path, tokenizer: Tokenizer | None = None, *, trust_code: bool = False
) -> Exported:
    """Write the model of a file to `out`, which must not be there yet.

    `tokenizer` is that of the run around the file, for a file without one; `trust_code` lets the code run that a
    Hugging Face folder brought into the file. ConfigError for a target that is not there
    or that cannot hold this model, BackendError for a library that is not installed or a place that cannot be written,
    NumericsError where what was written does not read back as what the file holds: then nothing is left.
    """
    target = _find(to, out)
    source = ExportSource(artifact, tokenizer, trust_code)
    notes: list[str] = []
    said: list[str] = []

    def fill(place: Path) -> None:
        place.unlink(missing_ok=True)  # the file that `write_atomic` begins with
        notes.extend(target.write(source, place))
        said.append(target.check(source, place))

    (write_atomic if target.suffix else write_folder)(out, fill)
    paths = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
    files = {path.name if path == out else str(path.relative_to(out)): path.stat().st_size for path in paths}
    return Exported(
        place=str(out), target=to, bytes=sum(files.values()), files=files, bcap_bytes=artifact.size_bytes,
        checked=said[0], notes=[*notes, *_left_behind(artifact)],
    )  # fmt: skip


def _find(to: str, out: Path) -> Target:
    """The target, once its libraries are there and the place is free."""
    target = TARGETS.find(to)()
    if target.suffix and out.suffix != target.suffix:
        raise ConfigError(f"{out} must end in {target.suffix}, as that is what {to} writes; give another name")
    refuse_place(out, replace=False)
    for library in target.libraries:
        if importlib.util.find_spec(library) is None:
            raise BackendError(
                f"export --to {to} needs the package {library}, which is not installed; "
                f"pip install 'bytecap[{target.extra}]'"
            )
    return target


def _left_behind(artifact: Artifact) -> list[str]:
    """What the file's default score has and no other program does."""
    if not artifact.adapt:
        return []
    return [
        f"the file's own score adapts by {', '.join(artifact.adapt)}; what was written is the model as it is, whose "
        "score is the static one (bytecap score --adapt none)"
    ]
