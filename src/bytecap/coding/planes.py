"""Integers as planes of bytes, which general compressors like better than interleaved ones.

In:   arrays of small integers or 16-bit floats.
Out:  bytes: for 8-bit values one plane, for 16-bit values all low bytes, then all high bytes; 128 is added before, so
      that the high byte of a small value is 0 and not its sign.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def is_wide(symbols: npt.NDArray[np.int16]) -> bool:
    """Return whether any symbol needs 16 bits."""
    return bool(symbols.size and (symbols.max() > 127 or symbols.min() < -128))


def to_planes(symbols: npt.NDArray[np.int16], *, wide: bool) -> bytes:
    """One byte for each symbol, or two planes if wide."""
    flat = symbols.reshape(-1)
    if not wide:
        return flat.astype(np.int8).tobytes()
    pairs = (flat.astype(np.int32) + 128).astype("<u2").view(np.uint8).reshape(-1, 2)
    return pairs.T.tobytes()


def from_planes(data: bytes, count: int, *, wide: bool) -> npt.NDArray[np.int16]:
    """The symbols back; `data` must hold exactly `count` of them."""
    assert len(data) == count * (2 if wide else 1)
    if not wide:
        return np.frombuffer(data, np.int8).astype(np.int16)
    pairs = np.frombuffer(data, np.uint8).reshape(2, count).T
    raised = np.ascontiguousarray(pairs).view("<u2").reshape(count).astype(np.int32)
    return (raised - 128).astype(np.int16)


def split_bytes(data: bytes, width: int) -> bytes:
    """First bytes of all numbers of `width` bytes, then second bytes, and so on."""
    return np.frombuffer(data, np.uint8).reshape(-1, width).T.tobytes()


def join_bytes(data: bytes, width: int) -> bytes:
    """Back from `split_bytes`; the length of `data` is a multiple of `width`."""
    return np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()
