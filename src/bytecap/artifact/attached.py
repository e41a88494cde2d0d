"""Small files that lie in a `.bcap` next to the weights, such as the config and the tokenizer of a Hugging Face model.

In:   files by name, the data types that tensors had; or the header and the section of a file, trusting nothing.
Out:  header entries and one section; or the files again.

A name is a plain file name, never a path, so that whoever writes the files writes into one folder.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from bytecap.artifact.bpe_tokenizer import with_merges, without_merges
from bytecap.artifact.layout import ATTACHED, DTYPES, Section
from bytecap.coding.general import compress
from bytecap.coding.pieces import from_columns, to_columns
from bytecap.core.errors import ConfigError, FormatError

MAX_FILES = 64
MAX_FREE, MAX_RATIO = 1 << 20, 64
"""Bytes that all attached files together may have at any rate, and for each stored byte."""
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(?<!\.)")
DTYPE_NAMES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
"""What a tensor was, as safetensors names it."""


@dataclass(frozen=True, eq=False)
class Attached:
    """What a file holds in addition to weights and tokenizer; nothing by default."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    """Bytes by plain name, in the order in which they are stored."""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    """The type that each tensor had before it was fitted, by name; empty if it is of no use."""

    def __post_init__(self) -> None:
        """Raise ConfigError for names that no folder should be written with."""
        for name in self.files:
            if not _PLAIN.fullmatch(name):
                raise ConfigError(f"a file called {name!r} cannot be attached; it must have a plain name, no path")
        if len({name.lower() for name in self.files}) < len(self.files) or len(self.files) > MAX_FILES:
            raise ConfigError(f"at most {MAX_FILES} files can be attached, and no two whose names differ in case alone")

    @functools.cached_property
    def _stored(self) -> dict[str, tuple[bytes, str]]:
        """The bytes of each file as they lie in the section, and the name of the form that makes them again."""
        return {name: _shortest(name, data) for name, data in self.files.items()}

    def header(self) -> dict[str, Any]:
        """The entries of the header that say what is attached; none where nothing is."""
        found: dict[str, Any] = {}
        if self.files:
            found[ATTACHED] = [
                [name, len(data), *([form] if form else [])] for name, (data, form) in self._stored.items()
            ]
        if self.dtypes:
            usual = Counter(self.dtypes.values()).most_common(1)[0][0]
            found[DTYPES] = {"": usual, **{name: kind for name, kind in self.dtypes.items() if kind != usual}}
        return found

    @functools.lru_cache(maxsize=4)  # noqa: B019  (a fit packs the same files many times)
    def section(self, codec: str) -> Section:
        """All files behind one another, compressed once."""
        joined = b"".join(data for data, _ in self._stored.values())
        return Section(ATTACHED, codec, joined, compress(codec, joined))


NOTHING = Attached()


@dataclass(frozen=True)
class _Form:
    """A way of storing files of one name in fewer bytes."""

    file: str
    short: Callable[[bytes], bytes | None]
    """None for a file that would not come back exactly."""
    whole: Callable[[bytes], bytes]


_FORMS = {
    "bpe": _Form("tokenizer.json", without_merges, with_merges),
    "pieces": _Form("tokenizer.model", to_columns, from_columns),
}


def _shortest(name: str, data: bytes) -> tuple[bytes, str]:
    for form, how in _FORMS.items():
        if how.file == name and (short := how.short(data)) is not None:
            return short, form
    return data, ""


def read_files(table: Any) -> list[tuple[str, int, str]]:
    """Names, sizes and forms from the header; FormatError for what no writer would have written."""
    if not isinstance(table, list) or not 0 < len(table) <= MAX_FILES:
        raise FormatError(f"the header's {ATTACHED} must list 1 to {MAX_FILES} files")
    found = []
    for row in table:
        match row:
            case [str(name), int(size), *form] if (
                _PLAIN.fullmatch(name) and type(size) is int and size >= 0 and form in ([], *([one] for one in _FORMS))
            ):
                found.append((name, size, form[0] if form else ""))
            case _:
                raise FormatError(f"an attached file must be [plain name, bytes], found {ascii(row)[:100]}")
    if len({name.lower() for name, _, _ in found}) < len(found):
        raise FormatError("an attached file stands twice in the header")
    return found


def split_files(rows: list[tuple[str, int, str]], data: bytes) -> dict[str, bytes]:
    """The files from their section, whose size was checked against the sum of theirs."""
    files, position = {}, 0
    for name, size, form in rows:
        stored = data[position : position + size]
        files[name] = _FORMS[form].whole(stored) if form else stored
        position += size
    return files


def read_dtypes(table: Any, tensors: Collection[str]) -> dict[str, str]:
    """The type that every tensor had; FormatError for other names and other types."""
    known = {"", *tensors}
    usual = table.get("") if isinstance(table, dict) else None
    if not isinstance(usual, str) or not known.issuperset(table):
        raise FormatError(f"the header's {DTYPES} must give a type under the empty name, and under names of tensors")
    for kind in table.values():
        if kind not in DTYPE_NAMES:
            raise FormatError(f"the header's {DTYPES} name {ascii(kind)[:40]}; known are {', '.join(DTYPE_NAMES)}")
    return {name: table.get(name, usual) for name in tensors}
