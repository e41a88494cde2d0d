"""Trellis-coded quantization: which of two interleaved cosets of levels a weight uses follows from those before it.

In:   the integers of a tensor, down its columns.
Out:  the levels they stand for, as multiples of the step.

A state of the trellis picks the coset: even states the even multiples of the step, odd states the odd ones and zero.
The parity of each integer drives the state, which starts at 0 at the top of each column.

Letters: O rows, I columns, S states.
Source:  Ungerboeck 1982 (codes); Marcellin and Fischer 1990 (trellis-coded quantization); "dependent quantization" of
         VVC and of ISO/IEC 15938-17. Differs: runs down columns, so that error feedback across columns stays exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SCALAR = 1
"""No trellis: every weight uses all levels."""

CODES = {
    4: (0o5, 0o2), 8: (0o13, 0o4), 16: (0o23, 0o4), 32: (0o45, 0o10), 64: (0o103, 0o24), 128: (0o235, 0o126),
    256: (0o515, 0o362),
}  # fmt: skip
"""Parity-check polynomials of the rate 1/2 systematic feedback code with S states."""


def next_states(states: int) -> npt.NDArray[np.uint8]:
    """(S, 2): the state after each state and parity of the integer; one row of zeros without a trellis."""
    if states == SCALAR:
        return np.zeros((1, 2), np.uint8)
    h0, h1 = CODES[states]
    memory = states.bit_length() - 1
    table = np.zeros((states, 2), np.uint8)
    for state in range(states):
        for parity in (0, 1):
            following = 0
            for i in range(1, memory + 1):
                bit = (state >> i) & 1 if i < memory else 0
                bit ^= ((h0 >> i) & 1) * (state & 1) ^ ((h1 >> i) & 1) * parity
                following |= bit << (i - 1)
            table[state, parity] = following
    return table


def coset_indices(symbols_OI: npt.NDArray[np.int16], states: int) -> npt.NDArray[np.uint8]:
    """0 or 1 for every weight: which of the two cosets its integer lies on."""
    table = next_states(states)
    cosets_OI = np.zeros(symbols_OI.shape, np.uint8)
    state_I = np.zeros(symbols_OI.shape[1], np.uint8)
    for row_I, coset_I in zip(symbols_OI, cosets_OI, strict=True):
        coset_I[:] = state_I & 1
        state_I = table[state_I, row_I & 1]
    return cosets_OI


def to_levels(symbols_OI: npt.NDArray[np.int16], states: int) -> npt.NDArray[np.int32]:
    """Multiples of the step that the integers stand for."""
    levels_OI = symbols_OI.astype(np.int32)
    if states != SCALAR:
        levels_OI *= 2
        levels_OI -= np.sign(symbols_OI) * coset_indices(symbols_OI, states)
    return levels_OI
