"""Content hashes that chain products together.

A product carries the digest of what it was made from; a reader compares it before trusting the product.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

DIGEST_LENGTH = 16
"""Hexadecimal digits kept: 64 bits, enough to tell products apart, short enough to read."""


def digest_of(value: Any) -> str:
    """Digest of a JSON-like value, independent of the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return digest_bytes(canonical.encode())


def digest_bytes(data: bytes) -> str:
    """Digest of raw bytes."""
    return hashlib.sha256(data).hexdigest()[:DIGEST_LENGTH]
