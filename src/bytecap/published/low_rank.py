"""The low-rank repair of the last record: what rounding lost, given back along its four largest directions.

In:   what each weight lost by rounding (weight minus rounded weight), by name.
Out:  for the three largest, two thin factors in small integers whose product is added to the rounded weight.

The residual is (U S) Vᵀ; U S is stored at 2 bits with one scale for all of it, Vᵀ at 4 bits with a scale for each 64
numbers in row order.

Letters: O rows (outputs), I columns (inputs), M directions, R rank, G groups.
Source:  openai/parameter-golf #1797; the idea is LQER, arXiv 2402.02446.
Differs: a last group that is not full has its own scale all the same, where the run stored both factors otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bytecap.formats.low_rank_corrected import GROUP, LEFT_BITS, RANK, RIGHT_BITS, LowRank

TENSORS = 3

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def low_rank_corrections(residuals_OI: Mapping[str, Floats], *, tensors: int = TENSORS) -> dict[str, LowRank]:
    """Repair the `tensors` weights that lost most in the sense of the Frobenius norm, the worst first."""
    lost = {name: float(np.square(value, dtype=np.float64).sum()) for name, value in residuals_OI.items()}
    worst = sorted(lost, key=lambda name: -lost[name])[:tensors]
    return {name: low_rank(residuals_OI[name]) for name in worst}


def low_rank(residual_OI: Floats) -> LowRank:
    """The largest directions of one residual, in small integers."""
    U_OM, S_M, V_MI = np.linalg.svd(residual_OI.astype(np.float64), full_matrices=False)
    left_OR, right_RI = U_OM[:, :RANK] * S_M[:RANK], V_MI[:RANK]
    left_symbols, left_scales = _small_integers(left_OR, left_OR.size, LEFT_BITS)
    right_symbols, right_scales = _small_integers(right_RI, GROUP, RIGHT_BITS)
    return LowRank(left_symbols, left_scales[0], right_symbols, right_scales)


def _small_integers(values: Doubles, group: int, bits: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """Integers -2^(bits-1) .. 2^(bits-1) - 1; the largest value of a group lies half a step beyond the last integer."""
    half = 2 ** (bits - 1)
    flat = np.abs(values).reshape(-1)
    scales_G = (np.maximum.reduceat(flat, np.arange(0, flat.size, group)) / (half - 0.5)).astype(np.float16)
    each = np.repeat(scales_G.astype(np.float64), group)[: flat.size].reshape(values.shape)
    symbols = np.rint(values / np.where(each > 0, each, np.inf)).clip(-half, half - 1)
    return symbols.astype(np.int8), scales_G
