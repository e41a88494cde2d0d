"""What a peer is given, what it gives back, and the parts of a file that all of them share.

In:   matrices to quantize, vectors at 16 bits, tokens to calibrate on.
Out:  bytes in the tool's own form, the same content plainly, and the floats that both stand for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]
Variant = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """What is quantized, and with what knowledge."""

    matrices: Arrays
    vectors: Arrays
    """At 16 bits."""
    importance: Arrays
    rest: Arrays
    """What is neither quantized nor counted."""
    tokens: np.ndarray[Any, Any] | None
    folder: Path


@dataclass(frozen=True)
class Made:
    """A quantized model in the tool's own form, plainly, and as floats again."""

    own: bytes
    plain: bytes
    floats: Arrays


class Refused(Exception):
    """The tool cannot do what was asked for."""


def vector_bytes(given: Given) -> bytes:
    """All vectors at 16 bits: first bytes of all numbers, then second bytes."""
    return float16_planes(given.vectors.values())


def float16_planes(arrays: Iterable[np.ndarray[Any, Any]]) -> bytes:
    """First bytes of all 16-bit numbers, then second bytes."""
    data = b"".join(a.astype("<f2").tobytes() for a in arrays)
    return np.frombuffer(data, np.uint8).reshape(-1, 2).T.tobytes()
