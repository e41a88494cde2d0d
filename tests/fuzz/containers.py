"""Files of two kinds taken apart and put together again with lengths and checksums repaired.

In / Out:  the bytes of a `.bcap` file (docs/artifact_format.md) or of a safetensors file, and their parts.

Written from the documents, not with the product's own writer, which refuses what a reader must survive.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

PREAMBLE = struct.Struct("<4sHHIIQI")


@dataclass
class Container:
    """A `.bcap` file in parts; sections as they are stored."""

    version: int
    header: Any
    """With its section table, `[name, codec, stored bytes, raw bytes, CRC-32]` for each."""
    sections: list[bytes]

    @property
    def table(self) -> list[list[Any]]:
        """The rows of the section table."""
        rows: list[list[Any]] = self.header["sections"]
        return rows


def read_container(data: bytes) -> Container:
    """Parts of a valid file."""
    _, version, _, stored_size, _, _, _ = PREAMBLE.unpack_from(data)
    end = PREAMBLE.size + stored_size
    header = json.loads(zlib.decompress(data[PREAMBLE.size : end]))
    sections = []
    for _, _, stored, _, _ in header["sections"]:
        sections.append(data[end : end + stored])
        end += stored
    return Container(version, header, sections)


def write_container(version: int, header_text: str, sections: list[bytes]) -> bytes:
    """A file with any header text and any sections behind it, its preamble in order."""
    text = header_text.encode("utf-8", "surrogatepass")
    packed = zlib.compress(text, 6)
    total = PREAMBLE.size + len(packed) + sum(map(len, sections))
    fields = (b"bcap", version, 0, len(packed), len(text), total)
    checksum = zlib.crc32(PREAMBLE.pack(*fields, 0)[:-4] + packed)
    return b"".join([PREAMBLE.pack(*fields, checksum), packed, *sections])


def read_safetensors(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON header and the bytes behind it."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write_safetensors(header_text: str, body: bytes) -> bytes:
    """A file with any header text."""
    text = header_text.encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body
