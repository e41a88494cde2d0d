"""Small integers through an adaptive binary range coder: steps, scales, vectors and tables, a few thousand of them.

In:   arrays of integers.
Out:  bytes. Integer arithmetic only, so that every machine decodes the same.

An array is predicted by nothing, by each number's neighbour, or by a multiple of an earlier array of its length: the
codes of hidden units, say, come in several arrays that rise and fall together. What is left, less its middle, is
coded with probabilities that all arrays of about the same spread share. An integer is a zero flag, a sign and a
magnitude in unary up to ESCAPE, then in Elias-gamma form; every binary decision learns its own probability, first
quickly, then slowly.

Source:  the carry handling is that of LZMA's range coder (Pavlov); the falling learning rate is Krichevsky and
         Trofimov's estimator with a floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import FormatError

_ONE = 1 << 16
_TOP = 1 << 24
_LEAST = 64
"""Least probability of a decision, in units of 2^-16."""
_SLOWEST = 60
_UNSEEN = _ONE // 2, 0
"""Probability of a 0 before anything was seen, and how often the decision was seen."""
ALONE, DIFFERENCES, FIRST_LIKE = 0, 1, 2
"""How an array is predicted; from FIRST_LIKE on by the last array of its length, by the one before that, and so on."""
MAX_REFERENCES = 16
"""Earlier arrays that are looked at."""
QUARTERS = 8
"""Largest multiple of an earlier array, in quarters."""
HEAD = 1000
"""First of the contexts of what stands in front of an array."""
ESCAPE = 24
MAX_MAGNITUDE = 1 << 24
MAX_TRAILING_ZEROS = 8
"""Zeros at the end that a reader puts back by itself."""
MAX_CODED_BYTES = 1 << 28
"""No section of adaptive arrays may be larger."""
MAX_VALUE = 1 << 40
"""No forged file may grow numbers beyond this."""

Array = npt.NDArray[np.int64]


class _Bits:
    """Adaptive probabilities of a 0, one for each context."""

    def __init__(self) -> None:
        self.state: dict[tuple[int, int], tuple[int, int]] = {}

    def probability(self, context: tuple[int, int]) -> int:
        return self.state.get(context, _UNSEEN)[0]

    def learn(self, context: tuple[int, int], bit: int) -> None:
        p, seen = self.state.get(context, _UNSEEN)
        p += ((0 if bit else _ONE) - p) // (seen + 2)
        self.state[context] = (min(max(p, _LEAST), _ONE - _LEAST), min(seen + 1, _SLOWEST))


class _Encoder:
    def __init__(self) -> None:
        self.low, self.range, self.out = 0, 0xFFFFFFFF, bytearray()
        self.held, self.bits = 1, _Bits()  # bytes held back for a carry; the first is a leading zero
        self.cache = 0

    def bit(self, context: tuple[int, int], bit: int) -> None:
        bound = (self.range >> 16) * self.bits.probability(context)
        if bit:
            self.low += bound
            self.range -= bound
        else:
            self.range = bound
        self.bits.learn(context, bit)
        while self.range < _TOP:
            self.range <<= 8
            self._shift()

    def finish(self) -> bytes:
        for _ in range(5):
            self._shift()
        whole = bytes(self.out[1:])
        return whole[: max(len(whole.rstrip(b"\0")), len(whole) - MAX_TRAILING_ZEROS)]

    def _shift(self) -> None:
        if self.low < 0xFF000000 or self.low > 0xFFFFFFFF:
            carry = self.low >> 32
            self.out.append((self.cache + carry) & 0xFF)
            self.out += bytes([(0xFF + carry) & 0xFF]) * (self.held - 1)
            self.cache, self.held = (self.low >> 24) & 0xFF, 0
        self.held += 1
        self.low = (self.low << 8) & 0xFFFFFFFF


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 4
        self.code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self.range, self.states = 0xFFFFFFFF, dict[int, tuple[int, int]]()

    def integers(self, kind: int, count: int) -> list[int]:
        """Decode `count` integers of a set; FormatError where there are no bytes left."""
        found = []
        for _ in range(count):
            magnitude = self._unary(kind, 0, ESCAPE)
            if magnitude == ESCAPE:
                magnitude += self._gamma(kind) - 1
            found.append(-magnitude if magnitude and self._unary(kind, 300, 1) else magnitude)
        return found

    def _gamma(self, kind: int) -> int:
        length, value = self._unary(kind, 100, 24), 1
        if length == 24:
            raise FormatError("a coded step or scale is too large")
        for place in reversed(range(length)):
            value = 2 * value + self._unary(kind, 200 + place, 1)
        return value

    def _unary(self, kind: int, place: int, most: int) -> int:
        """How many ones come before a zero, at most `most`, in contexts from `place` on; makes all decisions."""
        code, width, states = self.code, self.range, self.states
        context = (kind << 9) + place
        ones = 0
        while ones < most:
            p, seen = states.get(context, _UNSEEN)
            bound = (width >> 16) * p
            if one := code >= bound:
                code -= bound
                width -= bound
                p += -p // (seen + 2)
            else:
                width = bound
                p += (_ONE - p) // (seen + 2)
            if p < _LEAST:
                p = _LEAST
            elif p > _ONE - _LEAST:
                p = _ONE - _LEAST
            states[context] = p, seen + 1 if seen < _SLOWEST else seen
            while width < _TOP:
                if self.position >= len(self.data) + MAX_TRAILING_ZEROS:
                    raise FormatError("the coded steps and scales are cut short")
                code = code << 8 | (self.data[self.position] if self.position < len(self.data) else 0)
                width <<= 8
                self.position += 1
            if not one:
                break
            context += 1
            ones += 1
        self.code, self.range = code, width
        return ones


def encode_arrays(arrays: Sequence[npt.NDArray[np.integer]]) -> bytes:
    """All arrays, each in the way that leaves the smallest numbers."""
    coder, earlier = _Encoder(), _Earlier()
    for array in arrays:
        values = array.reshape(-1).astype(np.int64)
        way, quarters, rest = _best_way(values, earlier)
        middle = int(np.median(rest)) if rest.size else 0
        rest = rest - middle
        spread = _spread_of(rest)
        for place, number in enumerate((way, quarters, middle, spread)):
            _encode_integer(coder, HEAD + place, number)
        for value in rest.tolist():
            _encode_integer(coder, spread, value)
        earlier.add(values)
    return coder.finish()


def decode_arrays(data: bytes, sizes: Sequence[int | Callable[[list[Array]], int]]) -> list[Array]:
    """The arrays back; FormatError when the bytes cannot have been made by `encode_arrays`.

    A size may be worked out from the arrays before.
    """
    coder, arrays, earlier = _Decoder(data), list[Array](), _Earlier()
    for given in sizes:
        size = given if isinstance(given, int) else given(arrays)
        way, quarters, middle, spread = (coder.integers(HEAD + place, 1)[0] for place in range(4))
        values = np.array(coder.integers(spread, size), np.int64)
        values += middle
        likes = earlier.like(size)
        if way == DIFFERENCES:
            values = np.cumsum(values)
        elif 0 <= way - FIRST_LIKE < len(likes) and abs(quarters) <= QUARTERS:
            values = values + _multiple(likes[way - FIRST_LIKE], quarters)
        elif way != ALONE:
            raise FormatError("a coded array is predicted in an impossible way")
        if values.size and np.abs(values).max() >= MAX_VALUE:
            raise FormatError("a coded step or scale is too large")
        arrays.append(values)
        earlier.add(values)
    if not len(data) <= coder.position <= len(data) + MAX_TRAILING_ZEROS:
        raise FormatError("the coded steps and scales do not end where their bytes end")
    return arrays


def _best_way(values: Array, earlier: _Earlier) -> tuple[int, int, Array]:
    """The way to predict an array, the multiple of an earlier one in quarters, and the residuals."""
    ways = [(ALONE, 0, values), (DIFFERENCES, 0, np.diff(values, prepend=0))]
    for back, other in enumerate(earlier.like(values.size)):
        centred = other - other.mean() if other.size else other
        square = float(np.square(centred, dtype=np.float64).sum())
        quarters = round(4 * float(centred @ values) / square) if square else 0
        quarters = min(max(quarters, -QUARTERS), QUARTERS)
        if quarters:
            ways.append((FIRST_LIKE + back, quarters, values - _multiple(other, quarters)))
    return min(ways, key=lambda way: _rough_bits(way[2]))


class _Earlier:
    """Earlier arrays, which may predict others of the same size."""

    def __init__(self) -> None:
        self._by_size: dict[int, list[Array]] = {}

    def add(self, array: Array) -> None:
        self._by_size[array.size] = [array, *self.like(array.size)[: MAX_REFERENCES - 1]]

    def like(self, size: int) -> list[Array]:
        """The last first."""
        return self._by_size.get(size, [])


def _multiple(array: Array, quarters: int) -> Array:
    return (quarters * array + 2) >> 2


def _rough_bits(rest: Array) -> float:
    return math.log2(0.1 + float(np.abs(rest - np.median(rest)).mean())) if rest.size else 0.0


def _spread_of(rest: Array) -> int:
    """Octave of the mean magnitude, from 0 for next to nothing."""
    return max(0, round(math.log2(1 / 32 + float(np.abs(rest).mean()))) + 5) if rest.size else 0


def _encode_integer(coder: _Encoder, kind: int, value: int) -> None:
    magnitude = abs(value)
    assert magnitude < MAX_MAGNITUDE
    for place in range(min(magnitude, ESCAPE)):
        coder.bit((kind, place), 1)
    if magnitude < ESCAPE:
        coder.bit((kind, magnitude), 0)
    else:
        rest = magnitude - ESCAPE + 1
        for place in range(rest.bit_length() - 1):
            coder.bit((kind, 100 + place), 1)
        coder.bit((kind, 100 + rest.bit_length() - 1), 0)
        for place in reversed(range(rest.bit_length() - 1)):
            coder.bit((kind, 200 + place), (rest >> place) & 1)
    if magnitude:
        coder.bit((kind, 300), int(value < 0))
