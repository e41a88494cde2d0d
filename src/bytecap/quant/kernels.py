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
from bytecap.quant.merging import CARRIED, search_merging
from bytecap.quant.viterbi import Floats, Ints, Paths, begin_paths, propagate_errors, step_states, trace_back

Doubles = npt.NDArray[np.float64]


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
def search_one_sided(values_O: Floats, steps_O: Floats, weight_O: Floats, lambda_O: Floats, paths: Paths) -> None:
    """Search the paths of one column whose rows do not touch each other.

    The cost of a path is the sum of weight · error² + λ · |integer|.
    """
    x_S = np.empty(paths.cost_S.size, np.float32)
    for i in range(values_O.size):
        x_S[:] = values_O[i] / steps_O[i]
        step_states(x_S, np.float32(weight_O[i] * steps_O[i] ** 2), lambda_O[i], paths, i)


@compiled(fastmath=True)
def search_two_sided(values_O: Floats, steps_O: Floats, V_OO: Floats, lambda_O: Floats, paths: Paths) -> None:
    """Search as `search_one_sided` does, where every path carries the rows' errors to the rows below through V.

    The cost of a path is the sum of (error / V_ii)² + λ · |integer|. Paths carry the errors of the last few rows;
    the rows below a block of `CARRIED` are brought up to date once, for the paths that are left.
    """
    rows, states = values_O.size, paths.cost_S.size
    open_SO, next_SO = np.empty((states, rows), np.float32), np.empty((states, rows), np.float32)
    for a in range(states):
        open_SO[a] = values_O
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
            step_states(x_S, np.float32((step / pivot) ** 2), lambda_O[i], paths, i)
            for b in range(states):
                a = paths.way_OS[i, b] >> 1
                next_origin_S[b] = origin_S[a]
                for k in range(CARRIED):
                    next_SK[b, k] = error_SK[a, k]
                next_SK[b, done] = (x_S[a] - paths.level_OS[i, b]) * step / pivot
            error_SK, next_SK = next_SK, error_SK
            origin_S, next_origin_S = next_origin_S, origin_S
        if end < rows:
            for b in range(states):
                propagate_errors(open_SO[origin_S[b], end:], error_SK[b, : end - begin], V_OO, begin, next_SO[b, end:])
        open_SO, next_SO = next_SO, open_SO


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
    merging: bool,
    symbols_JO: Ints,
    rounded_JO: Floats,
    error_JO: Floats,
) -> None:
    """The columns of a block in turn; errors go to later columns of the block here, to later blocks by the caller.

    `error_JO` becomes (value - rounded) / U_jj, with the value after feedback; `state_J`, the states of the trellis at
    the top of the columns, those at their end.
    """
    columns, rows = values_JO.shape
    scalar = next_S2.shape[0] == 1
    for j in range(columns):
        if scalar:
            round_scalar(values_JO[j], steps_JO[j], V_OO, two_sided, symbols_JO[j], rounded_JO[j])
        else:
            paths = begin_paths(next_S2, state_J[j], rows)
            if not two_sided:
                search_one_sided(values_JO[j], steps_JO[j], weight_O, lambda_JO[j], paths)
            elif merging:
                search_merging(values_JO[j], steps_JO[j], V_OO, lambda_JO[j], paths)
            else:
                search_two_sided(values_JO[j], steps_JO[j], V_OO, lambda_JO[j], paths)
            state_J[j] = trace_back(paths, steps_JO[j], symbols_JO[j], rounded_JO[j])
        for i in range(rows):
            error_JO[j, i] = (values_JO[j, i] - rounded_JO[j, i]) / U_JJ[j, j]
        for k in range(j + 1, columns):
            factor = U_JJ[j, k]
            for i in range(rows):
                values_JO[k, i] -= factor * error_JO[j, i]
