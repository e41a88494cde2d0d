"""Viterbi's search through the trellis, row by row, compiled: what all ways of rounding a column have in common.

In:   values to be rounded of each state of the trellis, steps, a price of bits.
Out:  Paths: costs of all states after a row, how each was reached, and at the end the cheapest path.

Letters: O rows of the weight, S states of the trellis, K rows of a block, W ways, 2 · state + parity.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.signedinteger]

UNREACHABLE = 1e30
"""Cost of a state that no path has reached."""
_MAX_STEPS = np.float32(65_000.0)  # integers are stored at 16 bits


class Paths(NamedTuple):
    """The cheapest path into each state, row by row; a search fills it from the top."""

    into_2S: Ints
    """The two ways into each state."""
    cost_S: Floats
    """The cost of each state's path up to the last row that was searched."""
    way_OS: Ints
    """The way by which the path came into each state."""
    level_OS: Ints
    """The level that it gave the row."""


@compiled()
def predecessors(next_S2: Ints) -> Ints:
    """(2, S): the two predecessors of each state, as 2 · state + parity."""
    into_2S = np.empty((2, next_S2.shape[0]), np.int64)
    seen_S = np.zeros(next_S2.shape[0], np.int64)
    for a in range(next_S2.shape[0]):
        for parity in range(2):
            b = next_S2[a, parity]
            into_2S[seen_S[b], b] = 2 * a + parity
            seen_S[b] += 1
    return into_2S


@compiled()
def begin_paths(next_S2: Ints, top: int, rows: int) -> Paths:
    """Paths that all begin in state `top` above the first of so many rows."""
    states = next_S2.shape[0]
    cost_S = np.full(states, np.float32(UNREACHABLE))
    cost_S[top] = 0.0
    way_OS, level_OS = np.empty((rows, states), np.int16), np.empty((rows, states), np.int32)
    return Paths(predecessors(next_S2), cost_S, way_OS, level_OS)


@compiled(fastmath=True)
def step_states(x_S: Floats, scale: np.float32, rd_lambda: np.float32, paths: Paths, row: int) -> None:
    """One row for all states: the cheapest way into each of them, where `x_S` are the values to be rounded, in steps.

    The cost of a level is scale · (x - level)² + λ · |integer|. Straight code without branches, which compilers turn
    into vectors.
    """
    states = x_S.size
    into_2S, cost_S, way_S, level_S = paths.into_2S, paths.cost_S, paths.way_OS[row], paths.level_OS[row]
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
    least = np.float32(UNREACHABLE)
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
def trace_back(paths: Paths, steps_O: Floats, symbols_O: Ints, rounded_O: Floats) -> int:
    """Follow the cheapest path from its end, a state that is returned, back to its beginning: fill both last arrays."""
    last = int(np.argmin(paths.cost_S))
    state = last
    for i in range(steps_O.size - 1, -1, -1):
        a, level = paths.way_OS[i, state] >> 1, paths.level_OS[i, state]
        # On the odd grid integer k stands for level 2k - sign(k).
        symbols_O[i] = (level + (a & 1) * np.sign(level)) // 2
        rounded_O[i] = level * steps_O[i]
        state = a
    return last


@compiled(fastmath=True)
def propagate_errors(before_T: Floats, error_K: Floats, V_OO: Floats, begin: int, after_T: Floats) -> None:
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
