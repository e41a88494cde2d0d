"""The container of a `.bcap` file: preamble, header, sections. Normative text: docs/artifact_format.md.

In:   a header (JSON) and named sections of bytes; or the bytes of a file.
Out:  the bytes of a file; or header and sections, with every size checked before it is used.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from bytecap.coding.general import compress, decompress
from bytecap.core.errors import FormatError

MAGIC = b"bcap"
VERSION, WITHOUT_ATTACHED = 5, 4
"""Today's version, and that of files whose header has nothing of the newer one."""
READABLE = (2, 3, 4, 5)
PREAMBLE = struct.Struct("<4sHHIIQI")
"""Magic, version, flags (0), stored and raw bytes of the header, bytes of the file, CRC-32 of all before and of the
stored header."""

MAX_HEADER_BYTES = 1 << 22
MAX_SECTIONS, MAX_SECTION_NAME = 64, 128
MAX_SECTION_BYTES = 1 << 32
MAX_EXPANSION = 1 << 10
"""Bytes that a compressor may add to a section, on top of a 64th."""
MAX_DIGITS = 18
"""Digits of a whole number in the header."""
_CRC = struct.Struct("<I")

ATTACHED, DTYPES = "attached", "dtypes"
"""Attached files, in the header and as a section, and the types that tensors had (artifact/attached.py)."""
ALIASES = "aliases"
"""Further names of tensors that are stored once, in the header."""
KEYS_OF_5 = {ATTACHED, DTYPES, ALIASES}
"""Keys of the header that make a file of version 5."""
TOKENIZER, PIECES = "tokenizer", "tokenizer_pieces"
"""The tokenizer as its file is, or in columns (coding/pieces.py)."""


@dataclass(frozen=True)
class Section:
    """Named bytes and the codec they are stored with."""

    name: str
    codec: str
    data: bytes
    stored: bytes | None = None
    """The compressed bytes, if they are there already."""


@dataclass(frozen=True)
class SectionSize:
    """What one section takes in the file."""

    name: str
    codec: str
    stored: int
    raw: int


@dataclass(frozen=True)
class Parsed:
    """A file taken apart: header without its section table, stored sections, sizes."""

    version: int
    header: dict[str, Any]
    stored: dict[str, bytes]
    sizes: tuple[SectionSize, ...]
    size_bytes: int
    header_bytes: int
    """Bytes of preamble and stored header."""
    unread: set[str]
    """Sections that nothing has asked for yet."""

    def read(self, name: str, *, at_most: int = MAX_SECTION_BYTES, exactly: int | None = None) -> bytes:
        """Raw bytes of a section; FormatError, before anything is unpacked, when its size is not the one needed."""
        size = next((size for size in self.sizes if size.name == name), None)
        if size is None:
            raise FormatError(f"section {name!r} is missing")
        if size.raw > at_most or (exactly is not None and size.raw != exactly):
            needed = f"at most {at_most:,}" if exactly is None else f"{exactly:,}"
            raise FormatError(f"section {name!r} declares {size.raw:,} raw bytes, needed {needed}")
        self.unread.discard(name)
        return decompress(size.codec, self.stored[name], size.raw)

    def refuse_unread(self) -> None:
        """Raise FormatError when a section was needed by nothing."""
        if self.unread:
            raise FormatError(f"section {min(self.unread)!r} belongs to no tensor")


def write(header: dict[str, Any], sections: list[Section]) -> bytes:
    """The bytes of a file."""
    stored = [
        compress(section.codec, section.data) if section.stored is None else section.stored for section in sections
    ]
    table = [
        [section.name, section.codec, len(data), len(section.data), zlib.crc32(data)]
        for section, data in zip(sections, stored, strict=True)
    ]
    text = json.dumps({**header, "sections": table}, separators=(",", ":"), ensure_ascii=True).encode()
    packed = zlib.compress(text, 9)
    total = PREAMBLE.size + len(packed) + sum(map(len, stored))
    version = VERSION if is_newer(header) else WITHOUT_ATTACHED
    fields = (MAGIC, version, 0, len(packed), len(text), total)
    checksum = zlib.crc32(PREAMBLE.pack(*fields, 0)[: -_CRC.size] + packed)
    return b"".join([PREAMBLE.pack(*fields, checksum), packed, *stored])


def is_newer(header: dict[str, Any]) -> bool:
    """Return whether a header has something that version 4 has not: a key, or a kernel with a scale for each output."""
    rows = header.get("tensors")
    for row in rows if isinstance(rows, list) else []:
        match row:
            case [_, "per_channel", _, _, [_, _, _, *_]]:
                return True
    return not KEYS_OF_5.isdisjoint(header)


def parse(data: bytes) -> Parsed:
    """Take a file apart; FormatError for anything that is not exactly a file of this version."""
    version, header, start = _header(data)
    table = header.pop("sections", None)
    if not isinstance(table, list) or len(table) > MAX_SECTIONS:
        raise FormatError(f"the header must list at most {MAX_SECTIONS} sections")
    sections: dict[str, bytes] = {}
    sizes: list[SectionSize] = []
    position = start
    for row in table:
        size, checksum = _section_row(row)
        if size.stored > len(data) - position:
            raise FormatError(
                f"section {size.name!r} declares {size.stored:,} bytes at offset {position:,}, the file has "
                f"{len(data) - position:,} left",
                offset=position,
            )
        stored = data[position : position + size.stored]
        if size.stored > size.raw + size.raw // 64 + MAX_EXPANSION:
            raise FormatError(f"section {size.name!r} takes {size.stored:,} bytes for {size.raw:,}; it hides something")
        if zlib.crc32(stored) != checksum:
            raise FormatError(
                f"section {size.name!r} at offset {position:,} is damaged: its checksum differs; get the file again",
                offset=position,
            )
        if size.name in sections:
            raise FormatError(f"section {size.name!r} stands twice")
        sections[size.name] = stored
        sizes.append(size)
        position += size.stored
    if position != len(data):
        raise FormatError(f"{len(data) - position:,} bytes follow the last section; the file is not as it was written")
    return Parsed(version, header, sections, tuple(sizes), len(data), start, set(sections))


def _header(data: bytes) -> tuple[int, dict[str, Any], int]:
    """The version, the JSON header and the offset behind it."""
    if data[: len(MAGIC)] != MAGIC:
        raise FormatError(
            f"this is not a .bcap file, as `bytecap fit` makes them: it begins with {data[:4]!r}; give one, or make "
            "one of a checkpoint with `bytecap fit CHECKPOINT --cap SIZE -o FILE.bcap`"
        )
    if len(data) < PREAMBLE.size:
        raise FormatError(f"the file is cut short: it has {len(data)} of the {PREAMBLE.size} bytes of its preamble")
    _, version, flags, stored_size, raw_size, total, checksum = PREAMBLE.unpack_from(data)
    if version not in READABLE or flags != 0:
        readable = f"{READABLE[0]} to {READABLE[-1]}"
        advice = "an older" if version < READABLE[0] else "a newer"
        raise FormatError(
            f"the file has format version {version} (flags {flags}), this program reads versions {readable}; install "
            f"{advice} bytecap, the one that wrote it",
            version=version,
        )
    if stored_size > MAX_HEADER_BYTES or raw_size > MAX_HEADER_BYTES:
        raise FormatError(f"the header declares {max(stored_size, raw_size):,} bytes, at most {MAX_HEADER_BYTES:,}")
    if total != len(data):
        word = "cut short" if len(data) < total else "longer than it was written"
        raise FormatError(f"the file is {word}: {len(data):,} bytes, its preamble says {total:,}")
    end = PREAMBLE.size + stored_size
    packed = data[PREAMBLE.size : end]
    if zlib.crc32(data[: PREAMBLE.size - _CRC.size] + packed) != checksum:
        raise FormatError("the header is damaged: its checksum differs; get the file again", offset=0)
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(packed, raw_size + 1)
        if len(text) != raw_size or not inflater.eof or inflater.unused_data:
            raise FormatError(f"the header does not hold the {raw_size:,} bytes it declares")
        header = json.loads(text, object_pairs_hook=_unique, parse_int=_whole_number, parse_constant=_refuse_constant)
    except (zlib.error, ValueError, RecursionError) as error:
        raise FormatError(f"the header cannot be read: {error}") from error
    if not isinstance(header, dict):
        raise FormatError("the header is not a JSON object")
    return version, header, end


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key stands twice")
    return table


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits, at most {MAX_DIGITS}")
    return int(digits)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _section_row(row: Any) -> tuple[SectionSize, int]:
    match row:
        case [str(name), str(codec), stored, raw, checksum] if (
            all(type(number) is int and 0 <= number <= MAX_SECTION_BYTES for number in (stored, raw, checksum))
            and len(name) + len(codec) <= MAX_SECTION_NAME
        ):
            return SectionSize(name, codec, stored, raw), checksum
    raise FormatError(
        f"a section must be [name, codec, stored bytes, raw bytes, CRC-32] with at most {MAX_SECTION_BYTES:,} bytes, "
        f"found {ascii(row)[:80]}"
    )
