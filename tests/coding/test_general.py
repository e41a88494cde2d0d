"""Compressors give back what they got, within the size that was declared."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.coding.general import CODECS, baseline_sizes, compress, decompress
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


def test_baselines() -> None:
    """The three that everyone knows, smaller than a text that repeats itself."""
    sizes = baseline_sizes(b"one two three " * 500)
    assert list(sizes) == ["gzip", "xz", "zstd-19"] and all(20 < size < 200 for size in sizes.values())
