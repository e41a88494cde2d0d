"""Which documents are held out for validation: decided by a hash of the content, so identical files never straddle.

In:   documents, a fraction and a bound in bytes.
Out:  the set of hashes that are validation; the rest trains.

The rule: among documents whose hash, read as a fraction of the hash range, lies below `fraction` and whose length is
at most an eighth of the bound, take the longest prefix in hash order whose bytes stay within the bound. It is found
in one pass that remembers only the documents held out.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable

from bytecap.core.errors import DataError

_HASH_BYTES = 8
_LARGEST_SHARE = 8


def document_hash(document: str) -> int:
    """64 bits of the SHA-256 of the document's UTF-8."""
    return int.from_bytes(hashlib.sha256(document.encode()).digest()[:_HASH_BYTES], "big")


def choose_validation(documents: Iterable[tuple[int, int]], *, fraction: float, max_bytes: int) -> set[int]:
    """Hashes held out, from (hash, UTF-8 bytes) of every document; each content counts once."""
    ceiling = int(fraction * 2 ** (8 * _HASH_BYTES))
    held: list[tuple[int, int]] = []  # a heap with the largest hash on top
    members: set[int] = set()
    total = 0
    for key, size in documents:
        if key >= ceiling or key in members or size > max_bytes // _LARGEST_SHARE:
            continue
        heapq.heappush(held, (-key, size))
        members.add(key)
        total += size
        while total > max_bytes:
            evicted, evicted_size = heapq.heappop(held)
            members.discard(-evicted)
            total -= evicted_size
            ceiling = -evicted
    return members


def refuse_shared(shared: list[str]) -> None:
    """DataError naming how many documents stand in both splits, with three of them, when there is any."""
    if shared:
        examples = "; ".join(repr(text[:60]) for text in shared[:3])
        raise DataError(
            f"{len(shared):,} documents stand in training and in validation, such as {examples}. Remove them from one "
            "of the two",
            shared=len(shared),
        )
