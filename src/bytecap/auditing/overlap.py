"""Held-out documents that stand in the training text too: the same ones by hash, almost the same ones by MinHash.

In:   held-out and training documents.
Out:  pairs of documents with their similarity.

The similarity of two documents is the Jaccard index of their shingles, runs of five words in lower case; white space
and punctuation count nothing. MinHash with locality-sensitive hashing proposes pairs, and each proposal is then
measured exactly, so chance can only lose a pair: at similarity s one is proposed with probability 1 - (1 - s^3)^42,
which is 0.996 at 0.5 and 0.96 at 0.42. Nothing is sought for a training document that shares too few shingles with all
held-out ones together to be as similar as asked to any of them; no pair is lost by that.

Letters: W words, S shingles.
Source:  Broder 1997 (MinHash and shingles), through the library datasketch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bytecap.text.split import document_hash

SHINGLE_WORDS = 5
BANDS, ROWS = 42, 3
"""Hashes in bands: a pair is proposed when all rows of one band agree."""
Shingles = npt.NDArray[np.uint64]
_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A held-out document and the training document that is most like it."""

    held_out: int
    """Number of the held-out document in its order."""
    training: int
    """Number of the training document in its order."""
    similarity: float
    """Shared shingles over all shingles of both."""
    beginning: str
    """How the held-out document begins."""
    shingles: int = 0
    """Shingles of the held-out document; 0 where they were not counted."""

    @property
    def changed_words(self) -> float:
        """About how many words differ: each that is replaced takes SHINGLE_WORDS shingles on both sides with it."""
        return self.shingles * (1 - self.similarity) / (1 + self.similarity) / SHINGLE_WORDS


def shared_documents(held_out: Iterable[str], training: Iterable[str]) -> list[Pair]:
    """Held-out documents that stand letter for letter in the training text."""
    texts = list(held_out)
    numbers: dict[int, list[int]] = {}
    for number, text in enumerate(texts):
        numbers.setdefault(document_hash(text), []).append(number)
    pairs = []
    for where, text in enumerate(training):
        for number in numbers.pop(document_hash(text), ()):
            pairs.append(Pair(held_out=number, training=where, similarity=1.0, beginning=_beginning(texts[number])))
    return sorted(pairs, key=lambda pair: pair.held_out)


def near_duplicates(held_out: Iterable[str], training: Iterable[str], *, at_least: float) -> list[Pair]:
    """For each held-out document the training document most like it, where their similarity is `at_least` that."""
    texts, shingler = list(held_out), _Shingler()
    shingles = [shingler.shingles(text) for text in texts]
    index, all_S = _index(shingles), np.unique(np.concatenate([np.zeros(0, np.uint64), *shingles]))
    best: dict[int, Pair] = {}
    for where, theirs in enumerate(map(shingler.shingles, training)):
        if _shared(theirs, all_S) < at_least * theirs.size:  # then it shares too little with each of them
            continue
        for number in _proposals(index, theirs):
            similarity = jaccard(shingles[number], theirs)
            if similarity >= max(at_least, best[number].similarity if number in best else 0.0):
                best[number] = Pair(
                    held_out=number,
                    training=where,
                    similarity=similarity,
                    beginning=_beginning(texts[number]),
                    shingles=shingles[number].size,
                )
    return [best[number] for number in sorted(best)]


def jaccard(one_S: Shingles, other_S: Shingles) -> float:
    """Shared over all, of two sorted sets."""
    shared = _shared(one_S, other_S)
    together = one_S.size + other_S.size - shared
    return shared / together if together else 0.0


def _shared(one_S: Shingles, other_S: Shingles) -> int:
    """How many are in both of two sorted sets."""
    if not one_S.size or not other_S.size:
        return 0
    place_S = np.minimum(np.searchsorted(other_S, one_S), other_S.size - 1)
    return int((other_S[place_S] == one_S).sum())


class _Shingler:
    """Documents to the sorted hashes of their shingles; words are numbered as they are met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def shingles(self, text: str) -> Shingles:
        """Distinct 64-bit hashes; of a shorter text the one of all its words."""
        numbers = self._numbers
        words_W = np.array(
            [numbers.setdefault(word, len(numbers)) for word in _WORD.findall(text.lower())], dtype=np.uint64
        )
        length = min(SHINGLE_WORDS, words_W.size)
        if not length:
            return words_W
        hash_S = np.zeros(words_W.size - length + 1, np.uint64)
        for place in range(length):
            hash_S = (hash_S ^ (hash_S >> np.uint64(29))) * _MULTIPLIER + words_W[place : place + hash_S.size]
            hash_S += np.uint64(1)
        return np.unique(hash_S)


def _index(shingles: list[Shingles]) -> Any:
    from datasketch import MinHashLSH  # noqa: PLC0415  (loads scipy: only where overlap is asked for)

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    for number, theirs in enumerate(shingles):
        if theirs.size:
            index.insert(number, _signature(theirs))
    return index


def _proposals(index: Any, shingles: Shingles) -> Iterator[int]:
    if shingles.size:
        yield from sorted(index.query(_signature(shingles)))


def _signature(shingles: Shingles) -> Any:
    from datasketch import MinHash  # noqa: PLC0415  (as above)

    made = MinHash(num_perm=BANDS * ROWS, scheme="affine64", hashfunc=int)
    made.update_batch(shingles.tolist())
    return made


def _beginning(text: str) -> str:
    return " ".join(text[:80].split())
