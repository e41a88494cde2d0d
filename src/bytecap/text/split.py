"""Which documents are held out for validation: decided by a hash of the content, so identical files never straddle.

In:   documents, a fraction and a bound in bytes.
Out:  the set of hashes that are validation; the rest trains.

The rule: of the documents of at most an eighth of the bound, each content once, take the longest prefix in hash order
whose bytes stay within both the bound and the fraction of all bytes, but at least one document. It is found in one pass
that remembers only documents within the bound.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable

from bytecap.core.errors import DataError
from bytecap.core.units import counted

_HASH_BYTES = 8
_LARGEST_SHARE = 8


def document_hash(document: str) -> int:
    """64 bits of the SHA-256 of the document's UTF-8."""
    return int.from_bytes(hashlib.sha256(document.encode()).digest()[:_HASH_BYTES], "big")


def choose_validation(documents: Iterable[tuple[int, int]], *, fraction: float, max_bytes: int) -> set[int]:
    """Hashes held out, from (hash, UTF-8 bytes) of every document; empty where every document is too long."""
    held: list[tuple[int, int]] = []  # a heap with the largest hash on top
    members: set[int] = set()
    total = all_bytes = 0
    ceiling = 1 << 8 * _HASH_BYTES
    for key, size in documents:
        all_bytes += size
        if key >= ceiling or key in members or size > max_bytes // _LARGEST_SHARE:
            continue
        heapq.heappush(held, (-key, size))
        members.add(key)
        total += size
        while total > max_bytes:
            ceiling, total = _evict(held, members, total)
    while len(held) > 1 and total > fraction * all_bytes:
        _, total = _evict(held, members, total)
    return members


def _evict(held: list[tuple[int, int]], members: set[int], total: int) -> tuple[int, int]:
    """Drop the largest hash; returns it and the bytes that are left."""
    negative, size = heapq.heappop(held)
    members.discard(-negative)
    return -negative, total - size


def refuse_shared(shared: list[str]) -> None:
    """Raise a DataError that names how many documents stand in both splits, with three of them, when there is any."""
    if shared:
        examples = "; ".join(repr(text[:60]) for text in shared[:3])
        raise DataError(
            f"{counted(len(shared), 'document stands', 'documents stand')} in training and in validation, such as "
            f"{examples}. Remove them from one of the two",
            shared=len(shared),
        )
