"""Compressors give back what they got, within the size that was declared."""

import lzma
import struct
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.coding.general import CODECS, compress, decompress
from bytecap.core.errors import BackendError, ConfigError, FormatError


@given(st.sampled_from(CODECS), st.binary(max_size=3000))
def test_round_trip(codec: str, data: bytes) -> None:
    """Any bytes through any codec."""
    assert decompress(codec, compress(codec, data), len(data)) == data


@pytest.mark.parametrize("codec", CODECS)
def test_wrong_sizes_and_damage(codec: str) -> None:
    """A declared size that is too small or too large, a cut stream and a foreign one are damage, not memory."""
    data = b"abcdefgh" * 100_000
    packed = compress(codec, data)
    for raw_size in (0, 7, len(data) - 1, len(data) + 1, 1 << 40):
        with pytest.raises(FormatError):
            decompress(codec, packed, raw_size)
    with pytest.raises(FormatError):
        decompress(codec, packed[:-3], len(data))
    with pytest.raises(FormatError):
        decompress(codec, b"\xff" * 50, len(data))


@pytest.mark.parametrize("codec", ["zlib", "lzma"])
@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_whole_chunks(codec: str, size: int) -> None:
    """Sizes around what is unpacked at once, and nothing may follow the stream."""
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    packed = compress(codec, data)
    assert decompress(codec, packed, size) == data
    with pytest.raises(FormatError):
        decompress(codec, packed + b"more", size)


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "raw"])
def test_a_forged_section_cannot_fill_the_memory(codec: str) -> None:
    """16 MiB of zeros behind a small declared size: unpacking stops after the first piece."""
    packed = compress(codec, bytes(16 << 20))
    with pytest.raises(FormatError, match="bytes or more where 1,000 were declared") as caught:
        decompress(codec, packed, 1000)
    unpacked = int(str(caught.value).split(" holds ")[1].split()[0].replace(",", ""))
    assert 1000 < unpacked <= 2 << 20


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "raw"])
def test_nothing_hides_behind_a_section(codec: str) -> None:
    """No bytes behind the stream, no second stream, no frame that a reader skips."""
    data = b"one two three " * 500
    packed, skipped = compress(codec, data), struct.pack("<II", 0x184D2A50, 90) + bytes(range(90))
    for hidden in (b"\0", b"x" * 1000, packed, compress(codec, b""), skipped):
        with pytest.raises(FormatError, match=f"an? {codec} section (is cut short or followed|is damaged)"):
            decompress(codec, packed + hidden, len(data))
    with pytest.raises(FormatError):
        decompress(codec, skipped + packed, len(data))


def test_a_forged_window_is_refused() -> None:
    """An lzma header that asks for a window of 4 GiB."""
    packed = bytearray(compress("lzma", b"abc"))
    size = (packed[12] + 1) * 4
    at = packed.index(b"\x21\x01", 12) + 2  # LZMA2 with one byte of properties: the size of its window
    packed[at] = 40
    packed[12 + size - 4 : 12 + size] = zlib.crc32(packed[12 : 12 + size - 4]).to_bytes(4, "little")
    with pytest.raises(FormatError, match="lzma section is damaged: Memory usage limit"):
        decompress("lzma", bytes(packed), 3)


def test_everyone_can_read_them() -> None:
    """The two of the standard library are its ordinary formats."""
    data = b"one two three " * 500
    assert zlib.decompress(compress("zlib", data)) == data and lzma.decompress(compress("lzma", data)) == data
    assert len(compress("zlib", data)) == len(zlib.compress(data, 9))


def test_unknown_and_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressor that is unknown or not installed is an error, never another compressor."""
    with pytest.raises(ConfigError, match="did you mean brotli"):
        compress("brotly", b"")
    with pytest.raises(FormatError, match="unknown codec"):
        decompress("brotly", b"", 0)
    monkeypatch.setitem(sys.modules, "brotli", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for codec in ("brotli", "zstd"):
        with pytest.raises(BackendError, match="pip install"):
            compress(codec, b"x")
    monkeypatch.setitem(sys.modules, "lzma", None)
    for use in (lambda: compress("lzma", b"x"), lambda: decompress("lzma", b"x", 1)):
        with pytest.raises(BackendError, match="built without lzma"):
            use()
