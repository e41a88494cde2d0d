"""The byte layout of docs/artifact_format.md, and a refusal for each way a file can be wrong."""

import json
import struct
import zlib

import brotli
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytecap.artifact.layout import PREAMBLE, Parsed, Section, parse, write
from bytecap.core.errors import FormatError

GOOD = write({"a": 1}, [Section("x", "raw", b"hello"), Section("y", "zstd", b"w" * 99)])


def rebuilt(header: object, body: bytes = b"", *, raw_size: int | None = None, text: bytes | None = None) -> bytes:
    """A file with valid checksums around any header, written independently of `write`."""
    text = json.dumps(header).encode() if text is None else text
    packed = zlib.compress(text)
    size = len(text) if raw_size is None else raw_size
    head = struct.pack("<4sHHIIQ", b"bcap", 3, 0, len(packed), size, 28 + len(packed) + len(body))
    return head + struct.pack("<I", zlib.crc32(head + packed)) + packed + body


def test_a_file_assembled_by_hand_is_read() -> None:
    """A file assembled by hand is read, and ours begins as the document says."""
    row = ["x", "raw", 3, 3, zlib.crc32(b"abc")]
    parsed = parse(rebuilt({"k": "v", "sections": [row]}, b"abc"))
    assert parsed.header == {"k": "v"} and parsed.read("x", exactly=3) == b"abc" and PREAMBLE.size == 28
    assert GOOD[:8] == bytes.fromhex("6263617004000000")
    assert parse(GOOD).read("x") == b"hello" and parse(GOOD).read("y") == b"w" * 99
    assert struct.unpack_from("<Q", GOOD, 16)[0] == len(GOOD)


def test_cut_and_appended() -> None:
    """Every shorter file and every longer one."""
    for end in range(len(GOOD)):
        with pytest.raises(FormatError):
            parse(GOOD[:end])
    for extra in (b"\0", GOOD, b"x" * 1000):
        with pytest.raises(FormatError, match="longer than it was written"):
            parse(GOOD + extra)


def test_any_changed_byte() -> None:
    """Every single byte, three changes each."""
    for place in range(len(GOOD)):
        for change in (1, 0x80, 0xFF):
            damaged = bytearray(GOOD)
            damaged[place] ^= change
            with pytest.raises(FormatError):
                parse(bytes(damaged))


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    """Noise, with and without the magic, is refused as such."""
    for candidate in (data, b"bcap" + data):
        with pytest.raises(FormatError):
            parse(candidate)


def with_preamble(**changes: int) -> bytes:
    names = ("version", "flags", "stored", "raw", "total")
    values = dict(zip(names, struct.unpack_from("<HHIIQ", GOOD, 4), strict=True)) | changes
    return b"bcap" + struct.pack("<HHIIQ", *(values[n] for n in names)) + GOOD[24:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_preamble(version=1), "format version 1 .*this program reads versions 2 to 5; install an older"),
        (with_preamble(version=6), "format version 6 .*this program reads versions 2 to 5; install a newer"),
        (with_preamble(flags=1), "flags 1"),
        (with_preamble(stored=1 << 31), "header declares 2,147,483,648 bytes"),
        (with_preamble(raw=1 << 31), "header declares 2,147,483,648 bytes"),
        (with_preamble(total=1 << 62), "cut short"),
        (with_preamble(raw=5), "header is damaged"),
        (rebuilt({"sections": []}, raw_size=3), "does not hold the 3 bytes"),
        (rebuilt(None, text=b"[1,2]"), "not a JSON object"),
        (rebuilt(None, text=b"{nonsense"), "cannot be read"),
        (rebuilt(None, text=b'{"a":' * 100_000), "cannot be read"),
        (rebuilt(None, text=b'{"a":1,"sections":[],"a":1}'), "a key stands twice"),
        (rebuilt(None, text=b'{"a":' + b"9" * 5000 + b"}"), "a number has 5,000 digits, at most 18"),
        (rebuilt(None, text=b'{"a":[1,NaN]}'), "NaN is no number"),
        (rebuilt(None, text=b'{"a":-Infinity}'), "-Infinity is no number"),
        (rebuilt({}), "must list at most 64 sections"),
        (rebuilt({"sections": [["x", "raw", 0, 0, 0]] * 65}), "must list at most 64 sections"),
        (rebuilt({"sections": [["x", "raw", 9, 9]]}), r"must be \[name, codec"),
        (rebuilt({"sections": [["x", "raw", -1, 9, 0]]}), r"must be \[name, codec"),
        (rebuilt({"sections": [["x", "raw", 1 << 33, 9, 0]]}), r"must be \[name, codec"),
        (rebuilt({"sections": [["x", "raw", 1 << 20, 9, 0]]}), "declares 1,048,576 bytes at offset"),
        (rebuilt({"sections": [["x", "raw", 0, 0, 0]] * 2}), "stands twice"),
        (rebuilt({"sections": [["x" * 129, "raw", 0, 0, 0]]}), r"must be \[name, codec"),
        (rebuilt({"sections": [["x", "brotli", 1030, 5, 0]]}, bytes(1030)), "takes 1,030 bytes for 5; it hides"),
        (rebuilt({"sections": []}, b"more"), "4 bytes follow the last section"),
    ],
)
def test_forged_content_with_valid_checksums_is_refused(data: bytes, message: str) -> None:
    """Files with valid checksums but impossible content."""
    with pytest.raises(FormatError, match=message):
        parse(data)


def section_of(codec: str, stored: bytes, raw: int) -> Parsed:
    return parse(rebuilt({"sections": [["x", codec, len(stored), raw, zlib.crc32(stored)]]}, stored))


def test_sections_hold_what_they_declare() -> None:
    """Nothing is unpacked beyond its declared size, and nothing of another size than the one needed."""
    bomb = brotli.compress(bytes(1 << 23))
    with pytest.raises(FormatError, match="where 100 were declared"):
        section_of("brotli", bomb, 100).read("x")
    with pytest.raises(FormatError, match="declares 4,294,967,296 raw bytes, needed 7"):
        section_of("brotli", bomb, 1 << 32).read("x", exactly=7)
    with pytest.raises(FormatError, match="declares 101 raw bytes, needed at most 100"):
        section_of("brotli", bomb, 101).read("x", at_most=100)
    with pytest.raises(FormatError, match="unknown codec 'zip'"):
        section_of("zip", b"a", 1).read("x")
    with pytest.raises(FormatError, match="section 'y' is missing"):
        section_of("raw", b"a", 1).read("y")
