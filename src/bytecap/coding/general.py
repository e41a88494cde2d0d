"""General compressors behind one interface; a missing one is an error, never another one.

In:   bytes and the name of a codec.
Out:  bytes; decompression is bounded by the size that was declared, so that a forged file cannot fill the memory.
"""

from __future__ import annotations

import zlib
from types import ModuleType

from bytecap.core.errors import BackendError, ConfigError, FormatError, nearest

RAW, BROTLI, ZSTD, ZLIB, LZMA = "raw", "brotli", "zstd", "zlib", "lzma"
CODECS = (RAW, BROTLI, ZSTD, ZLIB, LZMA)
"""Codecs an artifact may use, always at their strongest setting."""

_CHUNK = 1 << 20
"""Bytes unpacked at once."""
_ZSTD_PIECE = 64
"""Bytes given to zstd at once, which cannot be told where to stop: 4 of them can become 128 KiB."""
_BROTLI_QUALITY, _BROTLI_WINDOW, _ZSTD_LEVEL, _ZLIB_LEVEL, _LZMA_LEVEL = 11, 24, 22, 9, 9
_LZMA_MEMORY = 1 << 27
"""Most memory that a forged lzma section can claim for its window; level 9 claims 65 MiB."""


def compress(codec: str, data: bytes) -> bytes:
    """`data` through `codec`."""
    if codec == RAW:
        return data
    if codec == BROTLI:
        packed: bytes = _import_brotli().compress(data, quality=_BROTLI_QUALITY, lgwin=_BROTLI_WINDOW)
        return packed
    if codec == ZSTD:
        parameters = import_zstandard().ZstdCompressionParameters.from_level(
            _ZSTD_LEVEL, source_size=len(data), write_checksum=False, write_content_size=False
        )
        packed = import_zstandard().ZstdCompressor(compression_params=parameters).compress(data)
        return packed
    if codec == ZLIB:
        return zlib.compress(data, _ZLIB_LEVEL)
    if codec == LZMA:
        lzma = import_lzma()
        packed = lzma.compress(data, check=lzma.CHECK_NONE, preset=_LZMA_LEVEL | lzma.PRESET_EXTREME)
        return packed
    raise ConfigError(f"there is no compressor {codec!r}{nearest(codec, CODECS)}; choose one of {', '.join(CODECS)}")


def decompress(codec: str, data: bytes, raw_size: int) -> bytes:
    """Exactly `raw_size` bytes back; FormatError when `data` does not hold exactly that."""
    if codec == RAW:
        out = data
    elif codec == BROTLI:
        out = _bounded_brotli(data, raw_size)
    elif codec == ZSTD:
        out = _bounded_zstd(data, raw_size)
    elif codec == ZLIB:
        out = _bounded_zlib(data, raw_size)
    elif codec == LZMA:
        out = _bounded_lzma(data, raw_size)
    else:
        raise FormatError(f"a section was written with the unknown codec {codec!r}")
    if len(out) != raw_size:
        raise FormatError(f"a {codec} section holds {len(out):,} bytes or more where {raw_size:,} were declared")
    return out


def _bounded_brotli(data: bytes, raw_size: int) -> bytes:
    brotli = _import_brotli()
    decoder = brotli.Decompressor()
    out = bytearray()
    try:
        chunk = decoder.process(data, output_buffer_limit=_CHUNK)
        while chunk and len(out) <= raw_size:
            out += chunk
            chunk = b"" if decoder.is_finished() else decoder.process(b"", output_buffer_limit=_CHUNK)
    except brotli.error as error:
        raise FormatError(f"a brotli section is damaged: {error}") from error
    if len(out) <= raw_size and not decoder.is_finished():
        raise FormatError("a brotli section is cut short")
    return bytes(out)


def _bounded_zstd(data: bytes, raw_size: int) -> bytes:
    zstandard = import_zstandard()
    out, given = bytearray(), 0
    try:
        decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        while given < len(data) and not decoder.eof and len(out) <= raw_size:
            out += decoder.decompress(data[given : given + _ZSTD_PIECE])
            given += _ZSTD_PIECE
    except zstandard.ZstdError as error:
        raise FormatError(f"a zstd section is damaged: {error}") from error
    if len(out) <= raw_size and (not decoder.eof or decoder.unused_data or given < len(data)):
        raise FormatError("a zstd section is cut short or followed by something else")
    return bytes(out)


def _bounded_zlib(data: bytes, raw_size: int) -> bytes:
    decoder = zlib.decompressobj()
    out = bytearray()
    rest = data
    try:
        while len(out) <= raw_size and (chunk := decoder.decompress(rest, _CHUNK)):
            out += chunk
            rest = decoder.unconsumed_tail
    except zlib.error as error:
        raise FormatError(f"a zlib section is damaged: {error}") from error
    if len(out) <= raw_size and (not decoder.eof or decoder.unused_data):
        raise FormatError("a zlib section is cut short or followed by something else")
    return bytes(out)


def _bounded_lzma(data: bytes, raw_size: int) -> bytes:
    lzma = import_lzma()
    out = bytearray()
    rest = data
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)
        while len(out) <= raw_size and not decoder.eof and (chunk := decoder.decompress(rest, _CHUNK)):
            out += chunk
            rest = b""
    except lzma.LZMAError as error:
        raise FormatError(f"an lzma section is damaged: {error}") from error
    if len(out) <= raw_size and (not decoder.eof or decoder.unused_data):
        raise FormatError("an lzma section is cut short or followed by something else")
    return bytes(out)


def _import_brotli() -> ModuleType:
    try:
        import brotli  # noqa: PLC0415  (optional backend)
    except ImportError:
        raise BackendError("this needs the brotli package: pip install 'brotli>=1.2'") from None
    return brotli  # type: ignore[no-any-return]


def import_zstandard() -> ModuleType:
    """The zstandard package; BackendError where it is not installed."""
    try:
        import zstandard  # noqa: PLC0415  (optional backend)
    except ImportError:
        raise BackendError("this needs the zstandard package: pip install zstandard") from None
    return zstandard


def import_lzma() -> ModuleType:
    """Python's lzma; BackendError in a build without it."""
    try:
        import lzma  # noqa: PLC0415  (left out of some builds of Python)
    except ImportError:
        raise BackendError("this Python was built without lzma; install liblzma and build Python again") from None
    return lzma
