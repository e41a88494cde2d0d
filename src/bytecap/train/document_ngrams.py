"""What n-grams of the document so far give each target of a window, as a mixture with a model; compiled.

In:   the tokens of a window and those before it.
Out:  for each target the model's share a and the part m that counts add: a p + m is the mixture's probability.

    orders k = 1, 2, 3, 4, 6, the shortest first:  l = n / (n + C_k d),  a <- (1 - l) a,  m <- (1 - l) m + l c / n

n says how often the k tokens before were followed by anything in this document, d by how many different tokens, c by
the target. A context that was not seen changes nothing.

Letters: L tokens, T targets, S slots.
Source:  Witten and Bell 1991, method C, with a constant C_k for each order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled
from bytecap.core.hashing import mixed

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]
Slots = npt.NDArray[np.uint64]

ORDERS = (1, 2, 3, 4, 6)
CONSTANTS = (20.0, 8.0, 6.0, 8.0, 3.0)
"""How many different followers weigh as much as one token that was seen, for each order."""
MAX_TOKENS = 1 << 16
"""Counts have 16 bits."""
_COUNTS = np.uint64(0xFFFFFFFF)


def document_mixture(token_L: Longs, first: int, bos: int) -> tuple[Floats, Floats]:
    """Share and added part, (T,) each, of the targets from `token_L[first]` on; fewer than MAX_TOKENS tokens.

    A document begins at each `bos`; of one that began before these tokens, these are all that is known.
    """
    begin = _document_begin(token_L, first, bos)
    slots = 1 << max(6, (2 * len(ORDERS) * (len(token_L) - begin) - 1).bit_length())
    share_T, added_T = np.ones((2, len(token_L) - first), np.float32)
    _follow(token_L, begin, first, bos, np.zeros(slots, np.uint64), np.zeros(slots, np.uint64), share_T, added_T)
    return share_T, added_T


@compiled()
def _document_begin(token_L: Longs, first: int, bos: int) -> int:
    begin = first - 1
    while begin > 0 and token_L[begin] != bos:
        begin -= 1
    return max(begin, 0)


@compiled()
def _follow(
    token_L: Longs, begin: int, first: int, bos: int, context_S: Slots, pair_S: Slots, share_T: Floats, added_T: Floats
) -> None:
    """Count token by token. A slot holds 32 bits of a hash and counts: n and d of a context, c of a pair."""
    document = begin
    for i in range(begin, token_L.size):
        token, key, order = token_L[i], np.uint64(document + 1), 0
        share, added = 1.0, 0.0
        for length in range(1, min(ORDERS[-1], i - document) + 1):
            key = mixed(key, np.uint64(token_L[i - length]))
            if length != ORDERS[order]:
                continue
            context, pair = _slot(context_S, key), _slot(pair_S, mixed(key, np.uint64(token)))
            n, d = (context_S[context] >> np.uint64(16)) & np.uint64(0xFFFF), context_S[context] & np.uint64(0xFFFF)
            c = pair_S[pair] & _COUNTS
            if n > 0 and i >= first:
                weight = n / (n + CONSTANTS[order] * d)
                share *= 1 - weight
                added += weight * (c / n - added)
            context_S[context] += np.uint64((1 << 16) + (1 if c == 0 else 0))
            pair_S[pair] += np.uint64(1)
            order += 1
        if i >= first:
            share_T[i - first], added_T[i - first] = share, added
        if token == bos:
            document = i


@compiled()
def _slot(slots: Slots, key: np.uint64) -> np.int64:
    """The slot of a hash, which is put there where it has none."""
    last, head = np.uint64(slots.size - 1), (key >> np.uint64(32)) | np.uint64(1)
    at = key & last
    while slots[at] != np.uint64(0):
        if slots[at] >> np.uint64(32) == head:
            return np.int64(at)
        at = (at + np.uint64(1)) & last
    slots[at] = head << np.uint64(32)
    return np.int64(at)
