"""The bytes of a `.bcap` file: preamble, header, sections. Normative text: docs/artifact_format.md.

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
VERSION = 2
PREAMBLE = struct.Struct("<4sHHIIQI")
"""Magic, version, flags (0), stored and raw bytes of the header, bytes of the file, CRC-32 of all before and of the
stored header."""

MAX_HEADER_BYTES = 1 << 22
MAX_SECTIONS = 64
MAX_SECTION_BYTES = 1 << 32
MAX_CONTEXT = 1 << 16
"""Positions of a scoring window."""
_CRC = struct.Struct("<I")

BLOCKS, CODES = "blocks.", "codes"
"""Sections of `steps` tensors: integers by role, and bases, step codes and spreads of them all."""
VECTORS = "vectors"
"""Steps and integers of `even` tensors."""
SYMBOLS, SCALES = "symbols.", "scales"
"""Sections of `row_scales` tensors: integers by role, and the scales of them all."""
FACTORS, FACTOR_SCALES = "factors", "factor_scales"
"""Further sections of `row_scales_low_rank` tensors."""
TOKENIZER, PIECES = "tokenizer", "tokenizer_pieces"
"""The tokenizer as its file is, or in columns (coding/pieces.py)."""
"""`float16` and `float32` name the sections of the other tensors."""


OLD_NAMES = {
    "row_column": "steps", "per_tensor": "even", "per_channel": "row_scales",
    "low_rank_corrected": "row_scales_low_rank", "float16": "float16", "float32": "float32",
}  # fmt: skip
"""Names of the formats in files of version 2."""


def number_bytes(section: str) -> int:
    """Bytes of each number in a section that lies behind a general compressor; above 1 its bytes lie in planes."""
    if section == "float32":
        return 4
    return 2 if section in ("float16", SCALES, FACTOR_SCALES) else 1


@dataclass(frozen=True)
class Section:
    """Named bytes and the codec they are stored with."""

    name: str
    codec: str
    data: bytes


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

    header: dict[str, Any]
    stored: dict[str, bytes]
    sizes: tuple[SectionSize, ...]
    size_bytes: int
    header_bytes: int
    """Bytes of preamble and stored header."""

    def section(self, name: str, raw_size: int | None = None, *, most: int = MAX_SECTION_BYTES) -> bytes:
        """Raw bytes of a section; FormatError, before anything is unpacked, when its size is not the one needed."""
        size = next((size for size in self.sizes if size.name == name), None)
        if size is None:
            raise FormatError(f"section {name!r} is missing")
        if size.raw > most or (raw_size is not None and size.raw != raw_size):
            needed = f"at most {most:,}" if raw_size is None else f"{raw_size:,}"
            raise FormatError(f"section {name!r} declares {size.raw:,} raw bytes, needed {needed}")
        return decompress(size.codec, self.stored[name], size.raw)


def write(header: dict[str, Any], sections: list[Section]) -> bytes:
    """The bytes of a file."""
    stored = [compress(section.codec, section.data) for section in sections]
    table = [
        [section.name, section.codec, len(data), len(section.data), zlib.crc32(data)]
        for section, data in zip(sections, stored, strict=True)
    ]
    text = json.dumps({**header, "sections": table}, separators=(",", ":"), ensure_ascii=True).encode()
    packed = zlib.compress(text, 9)
    total = PREAMBLE.size + len(packed) + sum(map(len, stored))
    fields = (MAGIC, VERSION, 0, len(packed), len(text), total)
    checksum = zlib.crc32(PREAMBLE.pack(*fields, 0)[: -_CRC.size] + packed)
    return b"".join([PREAMBLE.pack(*fields, checksum), packed, *stored])


def parse(data: bytes) -> Parsed:
    """Take a file apart; FormatError for anything that is not exactly a file of this version."""
    header, start = _header(data)
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
    return Parsed(header, sections, tuple(sizes), len(data), start)


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The JSON header and the offset behind it."""
    if data[: len(MAGIC)] != MAGIC:
        raise FormatError(f"this is not a .bcap file: it begins with {data[:4]!r}, needed {MAGIC!r}")
    if len(data) < PREAMBLE.size:
        raise FormatError(f"the file is cut short: {len(data)} bytes, the preamble alone has {PREAMBLE.size}")
    _, version, flags, stored_size, raw_size, total, checksum = PREAMBLE.unpack_from(data)
    if version != VERSION or flags != 0:
        raise FormatError(
            f"the file has format version {version} (flags {flags}), this program reads version {VERSION}; install the "
            "bytecap that wrote it",
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
        header = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise FormatError(f"the header cannot be read: {error}") from error
    if not isinstance(header, dict):
        raise FormatError("the header is not a JSON object")
    return header, end


def _section_row(row: Any) -> tuple[SectionSize, int]:
    match row:
        case [str(name), str(codec), stored, raw, checksum] if all(
            type(number) is int and 0 <= number <= MAX_SECTION_BYTES for number in (stored, raw, checksum)
        ):
            return SectionSize(name, codec, stored, raw), checksum
    raise FormatError(
        f"a section must be [name, codec, stored bytes, raw bytes, CRC-32] with at most {MAX_SECTION_BYTES:,} bytes, "
        f"found {str(row)[:80]}"
    )
