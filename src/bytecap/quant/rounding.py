"""Weights to integers, with the error of each weight taken up by those that come after it.

In:   a weight (O, I), its steps, and factors U of the inputs' and V of the outputs' inverse curvature.
Out:  integers and the weights that they stand for.

For curvatures A (inputs) and G (outputs), with UᵀU = (A + damping)⁻¹ and VᵀV = (G + damping)⁻¹ upper triangular, the
loss ½ tr(G E A Eᵀ) of rounding column by column with feedback is Σ e_ij² / (2 V_ii² U_jj²), where e is the error of
each weight against its value after feedback (docs/fit.md). The errors e no longer touch each other.

Source:  GPTQ, arXiv 2210.17323 (columns, blocks); YAQA, arXiv 2505.22988 (two sides).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.formats.trellis import SCALAR, next_states
from bytecap.quant.factors import Factors, inverse_of_upper
from bytecap.quant.kernels import round_block

MERGING_ROWS, MERGING_WEIGHTS = 512, 1 << 17
"""Size from which on paths of the trellis share their beginnings; costs then differ by rounding errors."""
BLOCK = 64
"""Columns that are rounded before the columns after them are updated, all at once."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rounded:
    """Integers of a tensor and what they stand for."""

    symbols_OI: npt.NDArray[np.int16]
    weights_OI: Floats
    loss: float
    """Σ e_ij² / (2 V_ii² U_jj²), the predicted increase of the loss in nats per token."""


def round_with_feedback(
    weight_OI: Floats,
    steps_OI: Floats,
    factors: Factors,
    *,
    states: int = SCALAR,
    lambda_OI: Floats | None = None,
    state_I: npt.NDArray[np.int64] | None = None,
) -> Rounded:
    """Round column by column, with error feedback along each side whose factor is a matrix.

    `factors.inputs` is U, (I, I), its diagonal (I,), or a block that repeats; `factors.outputs` is V, (O, O) or its
    diagonal (O,); parts are not looked at. `lambda_OI` is the price of one unit of magnitude. `state_I` holds the
    states of the trellis at the top of the columns, all 0 if it is None, and becomes those at their end.
    """
    inputs, outputs = _side_by_side(factors), factors.outputs
    values_IO = np.array(weight_OI.T, np.float32, order="C")
    steps_IO = np.ascontiguousarray(steps_OI.T, np.float32)
    columns, rows = values_IO.shape
    two_sided, merging = outputs.ndim == 2, rows >= MERGING_ROWS and rows * columns >= MERGING_WEIGHTS
    pivot_O = np.ascontiguousarray(np.diagonal(outputs) if two_sided else outputs, np.float32)
    V_OO = np.ascontiguousarray(outputs, np.float32) if two_sided else np.zeros((1, 1), np.float32)
    inverse_OO = inverse_of_upper(V_OO.astype(np.float64)) if two_sided else V_OO.astype(np.float64)
    lambda_IO = np.zeros_like(steps_IO) if lambda_OI is None else np.ascontiguousarray(lambda_OI.T, np.float32)
    table = next_states(states).astype(np.int64)
    state_I = np.zeros(columns, np.int64) if state_I is None else state_I
    symbols_IO = np.zeros((columns, rows), np.int64)
    rounded_IO = np.zeros_like(values_IO)
    loss = 0.0
    for begin, end, first, last in _blocks(columns, len(inputs)):
        here, within = slice(begin, end), slice(begin - first, end - first)
        error_JO = np.zeros((end - begin, rows), np.float32)
        round_block(
            values_IO[here], steps_IO[here], _diagonal_block(inputs, within), V_OO,
            pivot_O**-2.0, lambda_IO[here], table, state_I[here], two_sided, merging, symbols_IO[here],
            rounded_IO[here], error_JO,
        )  # fmt: skip
        if end < last and inputs.ndim == 2:
            values_IO[end:last] -= inputs[within, end - first : last - first].T.astype(np.float32) @ error_JO
        if two_sided:
            loss += _two_sided_loss(error_JO, inverse_OO)
        else:
            loss += 0.5 * float(((error_JO / pivot_O) ** 2).sum(dtype=np.float64))
    return Rounded(symbols_IO.T.astype(np.int16), np.ascontiguousarray(rounded_IO.T), loss)


def round_without_feedback(
    weight_OI: Floats,
    steps_OI: Floats,
    states: int,
    lambda_OI: Floats | None = None,
    state_I: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int16]:
    """Integers along the cheapest path of each column by itself: their size is nearly that of a full rounding."""
    rows, columns = weight_OI.shape
    no_feedback = Factors(np.ones(columns), np.ones(rows))
    return round_with_feedback(
        weight_OI, steps_OI, no_feedback, states=states, lambda_OI=lambda_OI, state_I=state_I
    ).symbols_OI


def _side_by_side(factors: Factors) -> npt.NDArray[np.floating]:
    """U, or so much of one that repeats as is rounded together."""
    together = min(factors.repeats, max(1, BLOCK // len(factors.inputs)))
    return factors.inputs if together == 1 else np.kron(np.eye(together), factors.inputs)


def _blocks(columns: int, span: int) -> Iterator[tuple[int, int, int, int]]:
    """Begin and end of each block of columns, and of the span whose errors stay within it."""
    for first in range(0, columns, span):
        last = min(first + span, columns)
        for begin in range(first, last, BLOCK):
            yield begin, min(begin + BLOCK, last), first, last


def _diagonal_block(inputs: npt.NDArray[np.floating], here: slice) -> Floats:
    """The square block of U that belongs to the columns `here`."""
    block_JJ = inputs[here, here] if inputs.ndim == 2 else np.diag(inputs[here])
    return np.ascontiguousarray(block_JJ, np.float32)


def _two_sided_loss(error_JO: Floats, inverse_OO: npt.NDArray[np.float64]) -> float:
    """½ Σ_j e_jᵀ (VᵀV)⁻¹ e_j: the error of a column after its rows' feedback, measured by the outputs' curvature."""
    whitened_JO = error_JO.astype(np.float64) @ inverse_OO
    return 0.5 * float((whitened_JO**2).sum())
