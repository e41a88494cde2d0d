"""The inner loops of rounding, compiled: one block of columns at a time, with error feedback.

In:   a block of J columns as rows of a (J, O) array, its steps, the rows of U that belong to it, and V.
Out:  integers and rounded values of the block, and the error that the columns after it must take up.

Letters: O rows of the weight, J columns of the block, S states of the trellis.
Source:  column feedback: GPTQ, arXiv 2210.17323; row feedback: YAQA, arXiv 2505.22988; the path search is Viterbi's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.signedinteger]

CARRIED = 16
"""Rows whose errors a path of the trellis carries with it before the rows below are brought up to date."""
_FAR = 1e30
_MAX_STEPS = np.float32(65_000.0)  # integers are stored at 16 bits


@compiled()
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


@compiled()
def round_trellis(
    values_O: Floats,
    steps_O: Floats,
    weight_O: Floats,
    lambda_O: Floats,
    next_S2: Ints,
    top: int,
    symbols_O: Ints,
    rounded_O: Floats,
) -> int:
    """One column along the cheapest path of the trellis; rows do not touch each other.

    The path begins in state `top`, and the state in which it ends is returned. The cost of a path is the sum of
    weight · error² + λ · |integer|.
    """
    rows, states = values_O.size, next_S2.shape[0]
    into_2S, cost_S = _ways_into(next_S2), _at_the_top(states, top)
    way_OS, level_OS = np.empty((rows, states), np.int16), np.empty((rows, states), np.int32)
    x_S = np.empty(states, np.float32)
    for i in range(rows):
        x_S[:] = values_O[i] / steps_O[i]
        _step(x_S, np.float32(weight_O[i] * steps_O[i] ** 2), lambda_O[i], into_2S, cost_S, way_OS[i], level_OS[i])
    return _trace(cost_S, way_OS, level_OS, steps_O, symbols_O, rounded_O)


@compiled(fastmath=True)
def round_trellis_two_sided(
    values_O: Floats,
    steps_O: Floats,
    V_OO: Floats,
    lambda_O: Floats,
    next_S2: Ints,
    top: int,
    symbols_O: Ints,
    rounded_O: Floats,
) -> int:
    """Round as `round_trellis` does, where every path carries the rows' errors to the rows below through V.

    The cost of a path is the sum of (error / V_ii)² + λ · |integer|. Paths carry the errors of the last few rows;
    the rows below a block of `CARRIED` are brought up to date once, for the paths that are left.
    """
    rows, states = values_O.size, next_S2.shape[0]
    into_2S = _ways_into(next_S2)
    open_SO, next_SO = np.empty((states, rows), np.float32), np.empty((states, rows), np.float32)
    for a in range(states):
        open_SO[a] = values_O
    cost_S = _at_the_top(states, top)
    way_OS, level_OS = np.empty((rows, states), np.int16), np.empty((rows, states), np.int32)
    error_SK, next_SK = np.zeros((states, CARRIED), np.float32), np.zeros((states, CARRIED), np.float32)
    # Whose values still to be rounded, of those at the top of the block, a path goes by.
    origin_S, next_origin_S = np.empty(states, np.int64), np.empty(states, np.int64)
    x_S = np.empty(states, np.float32)
    for begin in range(0, rows, CARRIED):
        end = min(begin + CARRIED, rows)
        for a in range(states):
            origin_S[a] = a
        for i in range(begin, end):
            done, step, pivot = i - begin, steps_O[i], V_OO[i, i]
            above_K = np.zeros(CARRIED, np.float32)
            above_K[:done] = V_OO[begin:i, i] / step
            for a in range(states):
                x = open_SO[origin_S[a], i] / step
                for k in range(CARRIED):
                    x -= error_SK[a, k] * above_K[k]
                x_S[a] = x
            _step(x_S, np.float32((step / pivot) ** 2), lambda_O[i], into_2S, cost_S, way_OS[i], level_OS[i])
            for b in range(states):
                a = way_OS[i, b] >> 1
                next_origin_S[b] = origin_S[a]
                for k in range(CARRIED):
                    next_SK[b, k] = error_SK[a, k]
                next_SK[b, done] = (x_S[a] - level_OS[i, b]) * step / pivot
            error_SK, next_SK = next_SK, error_SK
            origin_S, next_origin_S = next_origin_S, origin_S
        if end < rows:
            for b in range(states):
                _carry(open_SO[origin_S[b], end:], error_SK[b, : end - begin], V_OO, begin, next_SO[b, end:])
        open_SO, next_SO = next_SO, open_SO
    return _trace(cost_S, way_OS, level_OS, steps_O, symbols_O, rounded_O)


@compiled()
def _at_the_top(states: int, top: int) -> Floats:
    """Costs of the states before the first row: paths begin in state `top`."""
    cost_S = np.full(states, np.float32(_FAR))
    cost_S[top] = 0.0
    return cost_S


@compiled()
def _ways_into(next_S2: Ints) -> Ints:
    """(2, S): of each state the two ways into it, as 2 · state + parity."""
    into_2S = np.empty((2, next_S2.shape[0]), np.int64)
    seen_S = np.zeros(next_S2.shape[0], np.int64)
    for a in range(next_S2.shape[0]):
        for parity in range(2):
            b = next_S2[a, parity]
            into_2S[seen_S[b], b] = 2 * a + parity
            seen_S[b] += 1
    return into_2S


@compiled(fastmath=True)
def _step(
    x_S: Floats, scale: np.float32, rd_lambda: np.float32, into_2S: Ints, cost_S: Floats, way_S: Ints, level_S: Ints
) -> None:
    """One row for all states: the cheapest way into each of them, where `x_S` are the values to be rounded, in steps.

    Straight code without branches, which compilers turn into vectors.
    """
    states = x_S.size
    candidate_W, level_W = np.empty(2 * states, np.float32), np.empty(2 * states, np.int32)
    for h in range(states // 2):
        x, cost = min(max(x_S[2 * h], -_MAX_STEPS), _MAX_STEPS), cost_S[2 * h]
        quarter = x * np.float32(0.25)
        even, odd = np.float32(4.0) * np.rint(quarter), np.float32(4.0) * np.floor(quarter) + np.float32(2.0)
        candidate_W[4 * h] = cost + scale * (x - even) ** 2 + rd_lambda * np.float32(0.5) * abs(even)
        candidate_W[4 * h + 1] = cost + scale * (x - odd) ** 2 + rd_lambda * np.float32(0.5) * abs(odd)
        level_W[4 * h], level_W[4 * h + 1] = np.int32(even), np.int32(odd)
    for h in range(states // 2):
        x, cost = min(max(x_S[2 * h + 1], -_MAX_STEPS), _MAX_STEPS), cost_S[2 * h + 1]
        size, sign = abs(x), np.float32(1.0) if x >= 0 else np.float32(-1.0)
        odd = np.float32(1.0) + np.float32(4.0) * max(np.rint((size - 1) * np.float32(0.25)), np.float32(0.0))
        even = np.float32(3.0) + np.float32(4.0) * max(np.rint((size - 3) * np.float32(0.25)), np.float32(0.0))
        even = even if size >= np.float32(1.5) else np.float32(0.0)
        candidate_W[4 * h + 2] = cost + scale * (size - even) ** 2 + rd_lambda * np.float32(0.5) * (even + (even > 0))
        candidate_W[4 * h + 3] = cost + scale * (size - odd) ** 2 + rd_lambda * np.float32(0.5) * (odd + 1)
        level_W[4 * h + 2], level_W[4 * h + 3] = np.int32(sign * even), np.int32(sign * odd)
    least = np.float32(_FAR)
    for b in range(states):
        first, second = into_2S[0, b], into_2S[1, b]
        way = second if candidate_W[second] < candidate_W[first] else first
        way_S[b] = way
        level_S[b] = level_W[way]
        cost_S[b] = candidate_W[way]
        least = min(least, candidate_W[way])
    for b in range(states):
        cost_S[b] -= least


@compiled()
def _trace(cost_S: Floats, way_OS: Ints, level_OS: Ints, steps_O: Floats, symbols_O: Ints, rounded_O: Floats) -> int:
    """The cheapest path from its end, a state that is returned, back to its beginning."""
    last = int(np.argmin(cost_S))
    state = last
    for i in range(steps_O.size - 1, -1, -1):
        a, level = way_OS[i, state] >> 1, level_OS[i, state]
        # On the odd grid integer k stands for level 2k - sign(k).
        symbols_O[i] = (level + (a & 1) * np.sign(level)) // 2
        rounded_O[i] = level * steps_O[i]
        state = a
    return last


@compiled(fastmath=True)
def _carry(before_T: Floats, error_K: Floats, V_OO: Floats, begin: int, after_T: Floats) -> None:
    """after = before - error @ V[begin : begin + K], of the last T rows; four rows of V at once."""
    first = V_OO.shape[1] - before_T.size
    after_T[:] = before_T
    for k in range(0, error_K.size - 3, 4):
        e0, e1, e2, e3 = error_K[k], error_K[k + 1], error_K[k + 2], error_K[k + 3]
        v0, v1 = V_OO[begin + k, first:], V_OO[begin + k + 1, first:]
        v2, v3 = V_OO[begin + k + 2, first:], V_OO[begin + k + 3, first:]
        for t in range(after_T.size):
            after_T[t] -= e0 * v0[t] + e1 * v1[t] + e2 * v2[t] + e3 * v3[t]
    for k in range(error_K.size - error_K.size % 4, error_K.size):
        e0, v0 = error_K[k], V_OO[begin + k, first:]
        for t in range(after_T.size):
            after_T[t] -= e0 * v0[t]


@compiled()
def round_block(
    values_JO: Floats,
    steps_JO: Floats,
    U_JJ: Floats,
    V_OO: Floats,
    weight_O: Floats,
    lambda_JO: Floats,
    next_S2: Ints,
    state_J: Ints,
    two_sided: bool,
    symbols_JO: Ints,
    rounded_JO: Floats,
    error_JO: Floats,
) -> None:
    """The columns of a block in turn; errors go to later columns of the block here, to later blocks by the caller.

    `error_JO` becomes (value - rounded) / U_jj, with the value after feedback; `state_J`, the states of the trellis at
    the top of the columns, those at their end.
    """
    columns = values_JO.shape[0]
    scalar = next_S2.shape[0] == 1
    for j in range(columns):
        if scalar:
            round_scalar(values_JO[j], steps_JO[j], V_OO, two_sided, symbols_JO[j], rounded_JO[j])
        elif two_sided:
            state_J[j] = round_trellis_two_sided(
                values_JO[j], steps_JO[j], V_OO, lambda_JO[j], next_S2, state_J[j], symbols_JO[j], rounded_JO[j]
            )
        else:
            state_J[j] = round_trellis(
                values_JO[j], steps_JO[j], weight_O, lambda_JO[j], next_S2, state_J[j], symbols_JO[j], rounded_JO[j]
            )
        for i in range(values_JO.shape[1]):
            error_JO[j, i] = (values_JO[j, i] - rounded_JO[j, i]) / U_JJ[j, j]
        for k in range(j + 1, columns):
            factor = U_JJ[j, k]
            for i in range(values_JO.shape[1]):
                values_JO[k, i] -= factor * error_JO[j, i]
