"""Which tensors are stored as plain integers, one scale for each row, behind a general compressor.

In:   plans of tensors with steps for rows and columns, the weights, the factors of their curvature.
Out:  the same with one scale for each row, and for which of them that costs less.

A coder with contexts looks at one integer at a time. What stands in a tensor more than once, such as kernels that are
mirrored or outputs that are like their neighbours, a general compressor stores once. Both ways are compared at the same
slope: their bytes, and their predicted loss in bytes at the price that the multiplier κ sets.

Letters: O rows, C outputs (the first axis), I columns.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from bytecap.fitting.passes import EstimatedTensor
from bytecap.formats.per_channel import LARGEST_SCALE, PER_CHANNEL, SMALLEST_SCALE
from bytecap.formats.plan import TensorPlan
from bytecap.formats.row_column import ROW_COLUMN
from bytecap.formats.size_estimate import coded_bytes, compressed_bytes, trial_bytes
from bytecap.formats.steps import nearest_codes
from bytecap.formats.table import FORMATS, format_of
from bytecap.quant.allocation import STEP_MSE
from bytecap.quant.factors import Factors

MIN_REPETITION = 0.03
"""Share of its bytes that a general compressor must save against the entropy of single integers to be looked at."""
MIN_ELEMENTS = 1_024
"""Numbers of a tensor below which there is nothing to gain."""

Floats = npt.NDArray[np.float32]
Estimate = Callable[[list[TensorPlan]], Mapping[str, EstimatedTensor]]


def per_channel_plan(plan: TensorPlan, curve: Factors, step_scale: float) -> TensorPlan:
    """The same tensor at one scale for each output, at which its weights carry the same loss as on a trellis.

    A uniform step D has mean square error D²/12, a trellis STEP_MSE Δ². Plain rounding feeds no errors back, so the
    curvature of a column is A_jj, and the mean is taken over rows and columns of one output.
    """
    rows_O = np.square(curve.row_factors_O) ** -1.0
    rows_C = rows_O.reshape(plan.shape[0], -1).mean(axis=1) ** -0.5
    column = float(curve.inputs_diagonal.mean()) ** -0.5
    scale, codes = nearest_codes(math.sqrt(12 * STEP_MSE) * column * rows_C)
    return dataclasses.replace(
        plan, format=PER_CHANNEL, base=float(np.float32(step_scale * scale)), row_codes=tuple(codes.tolist()),
        column_codes=(),
    )  # fmt: skip


def choose_per_channel(
    plans: Iterable[TensorPlan], weights: Mapping[str, Floats], factors: Mapping[str, Factors], step_scale: float,
    estimate: Estimate,
) -> frozenset[str]:  # fmt: skip
    """Names of the tensors that cost less with one scale for each output; `estimate` gives size and loss of plans."""
    chosen = set()
    for plan in plans:
        if plan.format != ROW_COLUMN or math.prod(plan.shape) < MIN_ELEMENTS:
            continue
        other = per_channel_plan(plan, factors[plan.name], step_scale)
        if _repeats(other, weights[plan.name]):
            ours, theirs = (cost(estimate([each])[plan.name], step_scale) for each in (plan, other))
            if theirs < ours:
                chosen.add(plan.name)
    return frozenset(chosen)


def cost(found: EstimatedTensor, step_scale: float) -> float:
    """Bytes, and the predicted loss as bytes: a weight's is c κ² / 2, and with a bit less it is four times as large."""
    price = 8 * math.log(4) * 0.5 * STEP_MSE * step_scale**2
    return sum(coded_bytes({"": found.estimate}).values()) + found.loss / price


def _repeats(plan: TensorPlan, weight: Floats) -> bool:
    """Return whether a general compressor finds more in the integers than how often each stands there."""
    steps = plan.base * 2.0 ** (np.array(plan.row_codes) / 4)
    if steps.min() < SMALLEST_SCALE or steps.max() > LARGEST_SCALE:
        return False
    stored = FORMATS[PER_CHANNEL].nearest(plan, weight)
    parts = format_of(stored).plain_parts(stored).items()
    tried, alone = (
        sum(size(data, section.number_bytes) for section, data in parts) for size in (trial_bytes, compressed_bytes)
    )
    return tried < (1 - MIN_REPETITION) * alone
