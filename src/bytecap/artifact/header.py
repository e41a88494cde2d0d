"""What the header of a `.bcap` file says, in any version that is still read, trusting nothing.

In:   the header's JSON, as artifact/layout.py took it out of the file.
Out:  the model's spec, an entry for each tensor, provenance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bytecap.artifact.attached import read_dtypes, read_files
from bytecap.artifact.layout import ALIASES, ATTACHED, DTYPES, KEYS_OF_5, VERSION, Parsed, is_newer
from bytecap.core.errors import BytecapError, FormatError
from bytecap.formats.base import MAX_NAME, MAX_WIDTH, TensorEntry
from bytecap.formats.table import FORMATS, min_file_bytes
from bytecap.model.gpt import GPT
from bytecap.model.renames import current_name
from bytecap.model.roles import parameter_roles
from bytecap.model.spec import MAX_CONTEXT, ModelSpec

KEYS = ("written_by", "model", "tensors", "made_from", "lossless", "context")
MADE_FROM = ("recipe", "corpus", "checkpoint", "tokenizer")
STRATEGY, ADAPT = "strategy", "adapt"
"""Keys that are there only where a file's default score is not that of its model as it is, in windows."""
MAX_ADAPT = 4_096
"""Letters of the settings of what a model adapts by."""
MAX_WORD = 64
"""Letters of a digest, a version or a role."""
_NAMES_IN_VERSION_2 = {
    "steps": "row_column", "even": "per_tensor", "row_scales": "per_channel",
    "row_scales_low_rank": "low_rank_corrected", "float16": "float16", "float32": "float32",
}  # fmt: skip

Expected = dict[str, tuple[str, tuple[int, ...]]]
"""Role and shape of each tensor of a model."""


@dataclass(frozen=True)
class Header:
    """A header that was checked."""

    spec: ModelSpec | None
    """None for the weights of another program's model."""
    entries: list[TensorEntry]
    made_from: dict[str, str]
    lossless: bool
    context: int
    written_by: str
    """The version of bytecap that wrote the file; empty where it does not say so."""
    strategy: str
    """How its default score is made; empty for windows."""
    adapt: dict[str, Any]
    """Settings of what its model adapts by, by name; whoever scores it checks them."""
    attached: list[tuple[str, int, str]]
    """Names, sizes and forms of attached files."""
    dtypes: dict[str, str]
    """The type that each tensor had before the fit; empty where the file does not say."""
    aliases: dict[str, str]
    """Further names of tensors that are stored once, each with the name in `entries`."""


def read_header(parsed: Parsed) -> Header:
    """Check every value; FormatError for what no writer would have written."""
    table, keys = parsed.header, KEYS if parsed.version > 2 else KEYS[1:]
    newer = KEYS_OF_5 & table.keys()
    if set(table) - {STRATEGY, ADAPT} - newer != set(keys):
        raise FormatError(f"the header must hold {', '.join(keys)} and sections, found {ascii(list(table))[:200]}")
    if is_newer(table) != (parsed.version >= VERSION):
        found = ", ".join(sorted(newer)) or ("kernels as per_channel" if is_newer(table) else "nothing")
        raise FormatError(f"a file of version {parsed.version} has {found} of version 5")
    try:
        spec = None if table["model"] is None else ModelSpec.from_json(table["model"])
        expected = None if spec is None else _expected_tensors(spec)
    except BytecapError as error:
        raise FormatError(f"the model described in the header cannot be built: {error}") from error
    if not isinstance(table["tensors"], list) or len(table["tensors"]) > parsed.size_bytes:
        raise FormatError("the header must hold a table of tensors, at most one for each byte of the file")
    rows = [_from_version_2(row, spec) for row in table["tensors"]] if parsed.version == 2 else table["tensors"]
    if expected is not None and parsed.version > 2:
        rows = [_completed(row, expected) for row in rows]
    entries = [_entry(row, expected) for row in rows]
    aliases = _aliases(table[ALIASES], entries, expected) if ALIASES in table else {}
    _check_entries(entries, expected)
    _check_work(entries, aliases, parsed.size_bytes)
    return Header(
        spec,
        entries,
        _digests(table["made_from"]),
        _truth(table["lossless"]),
        _context(table["context"]),
        _word("written_by", table.get("written_by", "")),
        _word(STRATEGY, table.get(STRATEGY, "")),
        _adapt(table.get(ADAPT, {})),
        read_files(table[ATTACHED]) if ATTACHED in table else [],
        read_dtypes(table[DTYPES], [*(entry.name for entry in entries), *aliases]) if DTYPES in table else {},
        aliases,
    )


def _expected_tensors(spec: ModelSpec) -> Expected:
    """Role and shape of each tensor of the spec, without allocating any."""
    with torch.device("meta"):
        model = GPT(spec)
    roles = parameter_roles(model)
    return {name: (str(roles[name]), tuple(p.shape)) for name, p in model.named_parameters()}


def _from_version_2(row: Any, spec: ModelSpec | None) -> Any:
    """A row as version 3 has it for weights alone; what is no row stays, to be refused with the others."""
    match row:
        case [str(name), role, shape, str(grid), detail]:
            name = name if spec is None else current_name(name, spec.techniques)
            return [name, _NAMES_IN_VERSION_2.get(grid, ""), detail, role, shape]
    return None


def _completed(row: Any, expected: Expected) -> Any:
    """A row of a model's file with role and shape, which follow from the model."""
    match row:
        case [str(name), format, detail] if name in expected:
            role, shape = expected[name]
            return [name, format, detail, role, list(shape)]
    raise FormatError(f"tensor row {ascii(row)[:100]} does not fit any tensor of this model")


def _entry(row: Any, expected: Expected | None) -> TensorEntry:
    match row:
        case [str(name), str(format), int(detail), str(role), [*shape]] if type(detail) is int and all(
            type(size) is int and 0 < size <= MAX_WIDTH for size in shape
        ):
            entry = TensorEntry(name, role, tuple(shape), format, detail)
            if expected is not None and expected.get(name) != (role, entry.shape):
                raise FormatError(f"tensor row {ascii(row)[:100]} does not fit any tensor of this model")
            if not (name + role).isprintable() or len(name) > MAX_NAME or len(role) > MAX_WORD:
                raise FormatError(f"tensor row {ascii(row)[:100]} has a name that cannot be printed, or is too long")
            if format not in FORMATS or not FORMATS[format].allows(entry.shape, detail):
                raise FormatError(f"tensor row {ascii(row)[:100]} has a format that this shape cannot have")
            return entry
    raise FormatError(f"tensor row {ascii(row)[:100]} does not describe a tensor")


def _check_entries(entries: Sequence[TensorEntry], expected: Expected | None) -> None:
    """Refuse a name that occurs twice, and a model with a tensor missing."""
    if len({entry.name for entry in entries}) < len(entries):
        raise FormatError("a tensor stands twice in the header")
    if expected is not None and len(entries) < len(expected):
        raise FormatError(f"the tensor table has a row for {len(entries)} of the {len(expected)} tensors of this model")


def _check_work(entries: Sequence[TensorEntry], aliases: Mapping[str, str], size_bytes: int) -> None:
    """Refuse more work or memory than the size of the file warrants; a tensor with two names counts twice."""
    by_name = {entry.name: entry for entry in entries}
    everything = [*entries, *(by_name[known] for known in aliases.values())]
    if size_bytes < (needed := min_file_bytes((entry.format, entry.shape, entry.detail) for entry in everything)):
        raise FormatError(f"the file has {size_bytes:,} bytes; to hold tensors this large it must have {needed:,}")


def _aliases(table: Any, entries: Sequence[TensorEntry], expected: Expected | None) -> dict[str, str]:
    """Names that are no tensor's yet, each with that of a tensor; a model of ours has none."""
    names = {entry.name for entry in entries}
    if expected is not None or not isinstance(table, dict) or not table:
        raise FormatError(f"the header's {ALIASES} must be a table of names, in a file without a model")
    for name, known in table.items():
        if not isinstance(known, str) or known not in names or name in names:
            raise FormatError(f"the alias {ascii(name)[:80]} must be a new name of a tensor, found {ascii(known)[:80]}")
        if not name.isprintable() or len(name) > MAX_NAME:
            raise FormatError(f"the alias {ascii(name)[:80]} cannot be printed, or is too long")
    return dict(table)


def _digests(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and set(value) == set(MADE_FROM):
        return {name: _word(f"made_from.{name}", value[name]) for name in MADE_FROM}
    raise FormatError(f"the header's made_from must give the digests of {', '.join(MADE_FROM)}")


def _word(name: str, value: Any) -> str:
    if isinstance(value, str) and len(value) <= MAX_WORD and value.isprintable():
        return value
    raise FormatError(f"the header's {name} must be at most {MAX_WORD} printable letters, found {ascii(value)[:80]}")


def _truth(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise FormatError(f"the header's lossless must be true or false, found {ascii(value)[:80]}")


def _adapt(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or len(json.dumps(value)) > MAX_ADAPT:
        raise FormatError(f"the header's {ADAPT} must be a table of at most {MAX_ADAPT:,} letters")
    return value


def _context(value: Any) -> int:
    if type(value) is int and 1 <= value <= MAX_CONTEXT:
        return value
    raise FormatError(f"the header's context must be 1 to {MAX_CONTEXT:,} tokens, found {ascii(value)[:80]}")
