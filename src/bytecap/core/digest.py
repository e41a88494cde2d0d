"""Content hashes that chain products together.

A product carries the digest of what it was made from; a reader compares it before trusting the product.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

DIGEST_LENGTH = 16
"""Hexadecimal digits kept: 64 bits, enough to tell products apart, short enough to read."""


def digest_json(value: Any) -> str:
    """Digest of a JSON-like value, independent of the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return digest_bytes(canonical.encode())


def digest_bytes(data: bytes) -> str:
    """Digest of raw bytes."""
    return hashlib.sha256(data).hexdigest()[:DIGEST_LENGTH]


def digest_file(path: Path) -> str:
    """Digest of a file's bytes, read in pieces; OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_LENGTH]


def digest_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Digest of names, shapes and values, in their order."""
    whole = hashlib.sha256()
    for name, value in arrays.items():
        whole.update(f"{name} {value.shape} ".encode() + value.tobytes())
    return digest_bytes(whole.digest())
