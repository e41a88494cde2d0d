"""The inner loops of rounding, compiled: one block of columns at a time, with error feedback.

In:   a block of J columns as rows of a (J, O) array, its steps, the rows of U that belong to it, and V.
Out:  integers and rounded values of the block, and the error that the columns after it must take up.

Letters: O rows of the weight, J columns of the block, S states of the trellis.
Source:  column feedback: GPTQ, arXiv 2210.17323; row feedback: YAQA, arXiv 2505.22988; the path search is Viterbi's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_FAR = 1e30


@njit(cache=True, nogil=True)
def nearest_level(x: float, grid: int, parity: int) -> tuple[int, int]:
    """(level, integer): the level nearest to `x` steps on one of the two grids among integers of this parity."""
    x = min(max(x, -65_000.0), 65_000.0)  # integers are stored at 16 bits
    if grid == 0:
        level = 4 * int(np.rint(x / 4)) if parity == 0 else 4 * int(np.floor(x / 4)) + 2
        return level, level // 2
    size = abs(x)
    if parity == 1:
        level = max(1, 1 + 4 * int(np.rint((size - 1) / 4)))
    elif size < 1.5:
        return 0, 0
    else:
        level = max(3, 3 + 4 * int(np.rint((size - 3) / 4)))
    symbol = (level + 1) // 2
    return (level, symbol) if x >= 0 else (-level, -symbol)


@njit(cache=True, nogil=True)
def round_scalar(
    values_O: Floats, steps_O: Floats, V_OO: Floats, feedback: bool, symbols_O: Ints, rounded_O: Floats
) -> None:
    """One column to nearest, each row taking up the errors of those before it where there is row feedback."""
    rows = values_O.size
    open_O = values_O.copy()
    for i in range(rows):
        symbol = int(np.rint(open_O[i] / steps_O[i]))
        symbols_O[i] = min(max(symbol, -32767), 32767)
        rounded_O[i] = symbols_O[i] * steps_O[i]
        if feedback:
            error = (open_O[i] - rounded_O[i]) / V_OO[i, i]
            for t in range(i + 1, rows):
                open_O[t] -= error * V_OO[i, t]


@njit(cache=True, nogil=True)
def round_trellis(
    values_O: Floats,
    steps_O: Floats,
    weight_O: Floats,
    rate_O: Floats,
    next_S2: Ints,
    symbols_O: Ints,
    rounded_O: Floats,
) -> None:
    """One column along the cheapest path of the trellis; rows do not touch each other.

    The cost of a path is the sum of weight · error² + rate · |integer|.
    """
    rows, states = values_O.size, next_S2.shape[0]
    cost_S = np.full(states, _FAR)
    cost_S[0] = 0.0
    new_S = np.empty(states)
    from_OS = np.empty((rows, states), np.int64)
    chosen = np.empty((rows, 2, 2), np.int64)
    branch = np.empty((2, 2))
    for i in range(rows):
        x = values_O[i] / steps_O[i]
        scale = weight_O[i] * steps_O[i] * steps_O[i]
        for grid in range(2):
            for parity in range(2):
                level, symbol = nearest_level(x, grid, parity)
                chosen[i, grid, parity] = symbol
                branch[grid, parity] = scale * (x - level) ** 2 + rate_O[i] * abs(symbol)
        new_S[:] = _FAR
        for a in range(states):
            if cost_S[a] < _FAR:
                for parity in range(2):
                    b = next_S2[a, parity]
                    total = cost_S[a] + branch[a & 1, parity]
                    if total < new_S[b]:
                        new_S[b] = total
                        from_OS[i, b] = a * 2 + parity
        least = new_S.min()
        for b in range(states):
            cost_S[b] = new_S[b] - least if new_S[b] < _FAR else _FAR
    state = int(np.argmin(cost_S))
    for i in range(rows - 1, -1, -1):
        a, parity = from_OS[i, state] >> 1, from_OS[i, state] & 1
        symbol = chosen[i, a & 1, parity]
        symbols_O[i] = symbol
        rounded_O[i] = (2 * symbol - (a & 1) * np.sign(symbol)) * steps_O[i]
        state = a


@njit(cache=True, nogil=True, fastmath=True)
def round_trellis_two_sided(
    values_O: Floats,
    steps_O: Floats,
    V_OO: Floats,
    rate_O: Floats,
    next_S2: Ints,
    symbols_O: Ints,
    rounded_O: Floats,
) -> None:
    """As `round_trellis`, where every path carries the rows' errors to the rows below through V.

    The cost of a path is the sum of (error / V_ii)² + rate · |integer|; states with their open values are kept apart.
    """
    rows, states = values_O.size, next_S2.shape[0]
    open_SO = np.empty((states, rows), np.float32)
    next_SO = np.empty((states, rows), np.float32)
    for a in range(states):
        open_SO[a] = values_O
    cost_S = np.full(states, _FAR)
    cost_S[0] = 0.0
    new_S = np.empty(states)
    error_S = np.empty(states, np.float32)
    from_OS = np.empty((rows, states), np.int64)
    symbol_OS = np.empty((rows, states), np.int64)
    for i in range(rows):
        new_S[:] = _FAR
        pivot = V_OO[i, i]
        step = steps_O[i]
        scale = (step / pivot) ** 2
        for a in range(states):
            if cost_S[a] >= _FAR:
                continue
            x = open_SO[a, i] / step
            for parity in range(2):
                level, symbol = nearest_level(x, a & 1, parity)
                total = cost_S[a] + scale * (x - level) ** 2 + rate_O[i] * abs(symbol)
                b = next_S2[a, parity]
                if total < new_S[b]:
                    new_S[b] = total
                    from_OS[i, b] = a
                    symbol_OS[i, b] = symbol
                    error_S[b] = (x - level) * step / pivot
        least = new_S.min()
        for b in range(states):
            if new_S[b] < _FAR:
                a = from_OS[i, b]
                error = error_S[b]
                before, after, below = open_SO[a, i + 1 :], next_SO[b, i + 1 :], V_OO[i, i + 1 :]
                for t in range(below.size):
                    after[t] = before[t] - error * below[t]
                cost_S[b] = new_S[b] - least
            else:
                cost_S[b] = _FAR
        open_SO, next_SO = next_SO, open_SO
    state = int(np.argmin(cost_S))
    for i in range(rows - 1, -1, -1):
        a, symbol = from_OS[i, state], symbol_OS[i, state]
        symbols_O[i] = symbol
        rounded_O[i] = (2 * symbol - (a & 1) * np.sign(symbol)) * steps_O[i]
        state = a


@njit(cache=True, nogil=True)
def round_block(
    values_JO: Floats,
    steps_JO: Floats,
    U_JJ: Floats,
    V_OO: Floats,
    weight_O: Floats,
    rate_JO: Floats,
    next_S2: Ints,
    two_sided: bool,
    symbols_JO: Ints,
    rounded_JO: Floats,
    error_JO: Floats,
) -> None:
    """The columns of a block in turn; errors go to later columns of the block here, to later blocks by the caller.

    `error_JO` becomes (value - rounded) / U_jj, with the value after feedback.
    """
    columns = values_JO.shape[0]
    scalar = next_S2.shape[0] == 1
    for j in range(columns):
        if scalar:
            round_scalar(values_JO[j], steps_JO[j], V_OO, two_sided, symbols_JO[j], rounded_JO[j])
        elif two_sided:
            round_trellis_two_sided(values_JO[j], steps_JO[j], V_OO, rate_JO[j], next_S2, symbols_JO[j], rounded_JO[j])
        else:
            round_trellis(values_JO[j], steps_JO[j], weight_O, rate_JO[j], next_S2, symbols_JO[j], rounded_JO[j])
        for i in range(values_JO.shape[1]):
            error_JO[j, i] = (values_JO[j, i] - rounded_JO[j, i]) / U_JJ[j, j]
        for k in range(j + 1, columns):
            factor = U_JJ[j, k]
            for i in range(values_JO.shape[1]):
                values_JO[k, i] -= factor * error_JO[j, i]
