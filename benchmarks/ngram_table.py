"""The part of peers_in_equal_bytes.py that is an n-gram model of bytes whose table fits into a number of bytes.

    P(b | h) = max(c(hb) − D, 0) / N(h) + γ(h) P(b | h'),  h' is h without its first byte, γ(h) what is left of 1

N(h) is the count of h, or of all its kept successors where quantized counts add up to more. An n-gram is kept where its
count times the gain over the shorter context is large enough, and then all its beginnings are kept too. Counts are
kept as steps of a logarithmic scale. The table is, for each order, the number of successors of each n-gram, their bytes
and their counts, all after xz.

Source:  absolute discounting: H. Ney, U. Essen, R. Kneser, 1994; pruning by weighted differences: K. Seymore,
R. Rosenfeld, 1996.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]
MIN_COUNT = 3
STEPS = 3
"""Steps of the scale of counts for each doubling."""
DISCOUNTS = (0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Level:
    """All n-grams of one length: their beginning (its place in the level before), last byte, count and gain."""

    parent: Ints
    byte: Ints
    count: Ints
    gain: npt.NDArray[np.float64]


@dataclass(frozen=True)
class NgramTable:
    """What is kept: for each context its successors with their quantized counts, and the size of the file."""

    successors: dict[bytes, dict[int, float]]
    totals: dict[bytes, float]
    discount: float
    order: int
    entries: int
    size: int

    left: dict[bytes, float]
    """The share γ that each context leaves to the shorter one."""

    def nats(self, text: bytes) -> float:
        """Loss of a document, every byte predicted from those before it."""
        places = range(len(text))
        return -math.fsum(math.log(self.probability(text[max(0, at - self.order) : at], text[at])) for at in places)

    def probability(self, context: bytes, byte: int) -> float:
        """P(byte | context), from the empty context to the longest one that is kept."""
        found = 1 / 256
        for length in range(len(context) + 1):
            history = context[len(context) - length :]
            successors = self.successors.get(history)
            if successors is not None:
                share = max(successors.get(byte, 0.0) - self.discount, 0) / self.totals[history]
                found = share + self.left[history] * found
        return found


def count_ngrams(text: bytes, order: int) -> list[Level]:
    """Every n-gram of up to `order` bytes that occurs `MIN_COUNT` times, level by level."""
    data = np.frombuffer(text, np.uint8)
    at = np.arange(len(data))
    place = np.zeros(len(data), np.int64)  # of the n-gram that begins at each position, in its level
    levels: list[Level] = []
    for length in range(1, order + 1):
        inside = at + length <= len(data)
        at, place = at[inside], place[inside]
        keys = place * 256 + data[at + length - 1]
        found, first, inverse, count = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        kept = count >= (1 if length == 1 else MIN_COUNT)
        number = np.cumsum(kept) - 1
        parent, byte = found[kept] // 256, found[kept] % 256
        gain = _gains(levels, parent, byte, count[kept], data, at[first[kept]], length)
        levels.append(Level(parent, byte, count[kept], gain))
        stays = kept[inverse]
        at, place = at[stays], number[inverse[stays]]
    return levels


def _gains(
    levels: list[Level], parent: Ints, byte: Ints, count: Ints, data: Ints, first: Ints, length: int
) -> npt.NDArray[np.float64]:
    """Nats that each n-gram saves over the shorter context, by counts alone."""
    if length == 1:
        return np.full(len(count), np.inf)
    before = levels[-1]
    here = np.log(count / before.count[parent])
    suffix = _find(levels, data, first + 1, length - 1)
    context = _find(levels, data, first + 1, length - 2)
    of_suffix = levels[length - 2].count[suffix]
    of_context = levels[length - 3].count[context] if length > 2 else float(levels[0].count.sum())
    return np.asarray(count * np.maximum(here - np.log(of_suffix / of_context), 0.0))


def _find(levels: list[Level], data: Ints, at: Ints, length: int) -> Ints:
    """Places of the n-grams of `length` bytes that begin at `at`, which all are kept."""
    place = np.zeros(len(at), np.int64)
    for step in range(length):
        level = levels[step]
        place = np.searchsorted(level.parent * 256 + level.byte, place * 256 + data[at + step])
    return place


def fit_table(levels: list[Level], cap: int, tuning: Sequence[bytes]) -> NgramTable:
    """The table of the smallest threshold that fits; its discount is the best of `DISCOUNTS` on some training text."""
    low, high = 0.0, 14.0  # logarithms of the least gain
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (low, middle) if _size(_pruned(levels, math.exp(middle))) <= cap else (middle, high)
    kept = _pruned(levels, math.exp(high))
    size = _size(kept)
    some = [text[:4000] for text in tuning[:30]]
    tables = [_table(kept, discount, size) for discount in DISCOUNTS]
    return min(tables, key=lambda table: sum(table.nats(text) for text in some))


def _pruned(levels: list[Level], least: float) -> list[Level]:
    """The n-grams whose gain is at least `least`, and their beginnings."""
    wanted = [level.gain >= least for level in levels]
    for place in range(len(levels) - 1, 0, -1):
        wanted[place - 1][levels[place].parent[wanted[place]]] = True
    found, number = [], np.zeros(1, np.int64)
    for level, kept in zip(levels, wanted, strict=True):
        found.append(Level(number[level.parent[kept]], level.byte[kept], level.count[kept], level.gain[kept]))
        number = np.cumsum(kept) - 1
    return [level for level in found if len(level.count)]


def _steps(count: Ints) -> Ints:
    return np.asarray(np.rint(STEPS * np.log2(count)).astype(np.uint8))


def _quantized(count: Ints) -> Ints:
    return np.asarray(2.0 ** (_steps(count).astype(np.float64) / STEPS))


def _size(levels: list[Level]) -> int:
    """Bytes of the table after xz."""
    parts, parents = [], 1
    for level in levels:
        successors = np.bincount(level.parent, minlength=parents)
        parts += [np.minimum(successors, 255).astype(np.uint8), level.byte.astype(np.uint8), _steps(level.count)]
        parents = len(level.count)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}]
    return sum(len(lzma.compress(part.tobytes(), lzma.FORMAT_RAW, filters=filters)) for part in parts)


def _table(levels: list[Level], discount: float, size: int) -> NgramTable:
    successors: dict[bytes, dict[int, float]] = {}
    totals: dict[bytes, float] = {}
    names, counts = [b""], [float(_quantized(levels[0].count).sum())]
    for level in levels:
        quantized = _quantized(level.count).tolist()
        for parent, byte, count in zip(level.parent.tolist(), level.byte.tolist(), quantized, strict=True):
            successors.setdefault(names[parent], {})[byte] = count
            totals[names[parent]] = counts[parent]
        pairs = zip(level.parent.tolist(), level.byte.tolist(), strict=True)
        new = [names[parent] + bytes([byte]) for parent, byte in pairs]
        names, counts = new, quantized
    totals = {name: max(total, sum(successors[name].values())) for name, total in totals.items()}
    used = {name: sum(max(count - discount, 0) for count in its.values()) for name, its in successors.items()}
    left = {name: 1 - used[name] / total for name, total in totals.items()}
    entries = sum(len(level.count) for level in levels)
    return NgramTable(successors, totals, discount, len(levels), entries, size, left)
