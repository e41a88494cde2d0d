"""Rounding a column of many rows with feedback between rows along a trellis: paths share their beginnings.

In:   a column, its steps, V.
Out:  the paths, from which quant/kernels.py takes the cheapest.

Letters: O rows of the weight, S states of the trellis, N blocks of rows, K rows of a block, X rows of several blocks.
Source:  Viterbi's search; paths merge within a few times the memory of the code.
"""

from __future__ import annotations

import numpy as np

from bytecap.core.compiled import compiled
from bytecap.quant.viterbi import UNREACHABLE, Floats, Ints, Paths, propagate_errors, step_states

CARRIED = 16
"""Rows in a block."""
MAX_APART = 24
"""Blocks of so many rows after which paths that still differ at their beginning are given up for the cheapest."""
IMPOSSIBLE = np.float32(1e29)
"""The cost from which on a path counts as impossible."""


@compiled(fastmath=True)
def search_merging(values_O: Floats, steps_O: Floats, V_OO: Floats, lambda_O: Floats, paths: Paths) -> None:
    """Find the same path as `search_two_sided`, up to rounding of its costs, in a fraction of the time.

    All paths that are left soon come from one. What rows did before they part is carried to the rows below once, not
    for each path; the others carry the errors of at most `MAX_APART` blocks of rows, found through their ancestors.
    """
    cost_S = paths.cost_S
    rows, states = values_O.size, cost_S.size
    common_O = values_O.copy()
    error_NSK = np.zeros((MAX_APART, states, CARRIED), np.float32)
    ancestor_NS, older_S = np.zeros((MAX_APART, states), np.int64), np.empty(states, np.int64)
    slot_N = np.arange(MAX_APART)  # where the blocks lie in which paths differ, the oldest first
    apart, first = 0, 0  # how many they are, and their first row
    open_SK = np.empty((states, CARRIED), np.float32)
    for begin in range(0, rows, CARRIED):
        end = min(begin + CARRIED, rows)
        _open_rows(common_O[begin:end], error_NSK, ancestor_NS, slot_N[:apart], V_OO[first:begin, begin:end], open_SK)
        origin_S = _round_block_of_rows(
            open_SK, steps_O[begin:end], V_OO[begin:end, begin:end], lambda_O[begin:end], paths, begin,
            error_NSK[slot_N[apart]],
        )  # fmt: skip
        for n in range(apart):
            ancestor_S = ancestor_NS[slot_N[n]]
            older_S[:] = ancestor_S
            for b in range(states):
                ancestor_S[b] = older_S[origin_S[b]]
        ancestor_NS[slot_N[apart]] = np.arange(states)
        apart += 1
        while apart > 0:
            oldest = slot_N[0]
            best = ancestor_NS[oldest, np.argmin(cost_S)]
            for b in range(states):
                if ancestor_NS[oldest, b] != best and cost_S[b] < IMPOSSIBLE:
                    if apart < MAX_APART:
                        best = -1
                        break
                    # Still apart after so many rows: the beginning of the cheapest path is taken.
                    cost_S[b] = np.float32(UNREACHABLE)
            if best < 0:
                break
            if end < rows:
                propagate_errors(common_O[end:], error_NSK[oldest, best], V_OO, first, common_O[end:])
            slot_N[:-1], slot_N[-1] = slot_N[1:].copy(), oldest
            apart, first = apart - 1, first + CARRIED


@compiled(fastmath=True)
def _open_rows(
    common_K: Floats, error_NSK: Floats, ancestor_NS: Ints, slot_N: Ints, V_XK: Floats, open_SK: Floats
) -> None:
    """Values still to be rounded of a block of rows, for each path: less what its own errors in the rows above make."""
    width = common_K.size
    for a in range(open_SK.shape[0]):
        open_SK[a, :width] = common_K
    given_SK, known_S = np.empty(open_SK.shape, np.float32), np.empty(open_SK.shape[0], np.bool_)
    for n in range(slot_N.size):
        error_SK, ancestor_S = error_NSK[slot_N[n]], ancestor_NS[slot_N[n]]
        known_S[:] = False
        for a in range(open_SK.shape[0]):
            c = ancestor_S[a]
            if not known_S[c]:
                known_S[c] = True
                given_SK[c] = 0.0
                for k in range(CARRIED):
                    error = error_SK[c, k]
                    for j in range(width):
                        given_SK[c, j] += error * V_XK[n * CARRIED + k, j]
            for j in range(width):
                open_SK[a, j] -= given_SK[c, j]


@compiled(fastmath=True)
def _round_block_of_rows(
    open_SK: Floats,
    steps_K: Floats,
    V_KK: Floats,
    lambda_K: Floats,
    paths: Paths,
    begin: int,
    error_SK: Floats,
) -> Ints:
    """Round the rows of a block, from `begin` on, for all states.

    Returns the state in which each path comes into the block, and fills `error_SK` with the errors along it.
    """
    states, width = open_SK.shape[0], steps_K.size
    upper_KK, next_SK = np.zeros((CARRIED, CARRIED), np.float32), np.empty((states, CARRIED), np.float32)
    upper_KK[:width, :width] = V_KK
    made_KS = np.empty((width, states), np.float32)
    x_S, origin_S = np.empty(states, np.float32), np.empty(states, np.int64)
    for i in range(width):
        step, pivot, upper_K = steps_K[i], V_KK[i, i], upper_KK[i]
        for a in range(states):
            x_S[a] = open_SK[a, i] / step
        step_states(x_S, np.float32((step / pivot) ** 2), lambda_K[i], paths, begin + i)
        for b in range(states):
            a = paths.way_OS[begin + i, b] >> 1
            error = (x_S[a] - paths.level_OS[begin + i, b]) * step / pivot
            made_KS[i, b] = error
            before_K, after_K = open_SK[a], next_SK[b]
            for j in range(CARRIED):
                after_K[j] = before_K[j] - error * upper_K[j]
        open_SK, next_SK = next_SK, open_SK
    for b in range(states):
        a = b
        for i in range(width - 1, -1, -1):
            error_SK[b, i] = made_KS[i, a]
            a = paths.way_OS[begin + i, a] >> 1
        error_SK[b, width:] = 0.0
        origin_S[b] = a
    return origin_S
