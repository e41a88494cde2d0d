"""Many range coders side by side, sharing one stream of words, so that plain array code is fast enough.

In:   tokens in steps of at most K, and for each its interval in a table that sums to 2^14.
Out:  the states of the K lanes and 16-bit words.

Each lane is a range asymmetric numeral system: a state of 32 bits at or above 2^16; lanes that fall below after a step
take one word each, in the order of the lanes. Integer arithmetic only.

Letters: K lanes.
Source:  Duda, arXiv 1311.2540; sharing one stream between lanes: Giesen, arXiv 1402.3392.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bytecap.coding.tables import PRECISION, TOTAL
from bytecap.core.errors import FormatError

LOWEST = 1 << 16
Ints = npt.NDArray[np.int64]


class LaneEncoder:
    """Takes the tokens a part at a time, the last part first, and so needs memory for one part."""

    def __init__(self, lanes: int) -> None:
        self._state_K = np.full(lanes, LOWEST, np.int64)
        self._words: list[npt.NDArray[np.uint16]] = []

    def add(self, start: Ints, frequency: Ints, steps: Ints) -> None:
        """The part before all that were added; `steps` says how many tokens each step of it holds.

        No step may have more tokens than there are lanes. Every frequency must be positive.
        """
        end = start.size
        for count in steps[::-1].tolist():
            begin = end - count
            frequency_k, state_k = frequency[begin:end], self._state_K[:count]
            full = state_k >= frequency_k << (32 - PRECISION)
            if full.any():
                self._words.append((state_k[full] & 0xFFFF).astype(np.uint16))
                state_k = np.where(full, state_k >> 16, state_k)
            quotient, rest = np.divmod(state_k, frequency_k)
            self._state_K[:count] = (quotient << PRECISION) + rest + start[begin:end]
            end = begin

    def finish(self) -> bytes:
        """States and words."""
        tail = np.concatenate(self._words[::-1]) if self._words else np.zeros(0, np.uint16)
        return self._state_K.astype("<u4").tobytes() + tail.astype("<u2").tobytes()


class LaneDecoder:
    """Gives the tokens back, step by step; the contexts of a step are known only when it is reached."""

    def __init__(self, data: bytes, lanes: int, start: Ints, frequency: Ints) -> None:
        if len(data) < 4 * lanes or len(data) % 2:
            raise FormatError("a coded section is cut short")
        self._state_K = np.frombuffer(data, "<u4", lanes).astype(np.int64)
        self._words = np.frombuffer(data, "<u2", offset=4 * lanes).astype(np.int64)
        self._position = 0
        self.lanes = lanes
        contexts, tokens = frequency.shape
        self._tokens = tokens
        self._start, self._frequency = start.reshape(-1), frequency.reshape(-1)
        kind = np.uint8 if tokens <= 256 else np.uint16
        self._lookup = np.repeat(np.tile(np.arange(tokens, dtype=kind), contexts), self._frequency)
        assert self._lookup.size == contexts * TOTAL

    def step(self, contexts: Ints) -> Ints:
        """Tokens of one step, one for each context given."""
        state = self._state_K[: contexts.size]
        slot = state & (TOTAL - 1)
        token = self._lookup[(contexts << PRECISION) + slot].astype(np.int64)
        entry = contexts * self._tokens + token
        state = self._frequency[entry] * (state >> PRECISION) + slot - self._start[entry]
        empty = np.flatnonzero(state < LOWEST)
        if empty.size:
            words = self._words[self._position : self._position + empty.size]
            if words.size < empty.size:
                raise FormatError("a coded section is cut short")
            state[empty] = (state[empty] << 16) | words
            self._position += empty.size
        self._state_K[: contexts.size] = state
        return token

    def finish(self) -> None:
        """Raise FormatError unless everything was used up and every lane is where the encoder began."""
        if self._position != self._words.size or (self._state_K != LOWEST).any():
            raise FormatError("a coded section does not end where its tensors end")
