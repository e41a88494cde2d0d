"""Every tensor of a plan rounded: without feedback, to estimate size and loss, or with it, to go into a file.

In:   plans of tensors, the weights, the factors of their curvature.
Out:  an estimate of each tensor's size and loss; from a rounding pass also what is stored.

Letters: O rows, I columns.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt

from bytecap.core.progress import Progress
from bytecap.formats.base import StoredTensor
from bytecap.formats.per_channel import PER_CHANNEL
from bytecap.formats.plan import TensorPlan
from bytecap.formats.row_column import ROW_COLUMN, RowColumnQuantized
from bytecap.formats.size_estimate import SizeEstimate, trial_bytes
from bytecap.formats.steps import make_steps
from bytecap.formats.table import FORMATS, estimate_size
from bytecap.formats.trellis import SCALAR
from bytecap.quant.allocation import STEP_MSE
from bytecap.quant.factors import Doubles, Factors, Reals
from bytecap.quant.rounding import round_with_feedback, round_without_feedback
from bytecap.quant.spill import is_spilling, release

SAMPLED_COLUMNS, SAMPLED_ABOVE = 128, 1 << 17
"""Columns that an estimate pass looks at in a tensor, and the weights above which it leaves out the others."""
SAMPLED_ROWS = 8_192
"""Rows that it looks at where they take up no errors of each other, as those of embeddings."""
MAX_ROWS = 8_192
"""Rows of such a tensor that are rounded together; each such part of a column ends in the state that is best for it."""
MANY_WEIGHTS, LEAST_COLUMNS = 1 << 24, 32
"""Weights of a model beyond which fewer columns of each tensor stand for it, and how many at least."""

TINY, FORBIDDEN = 0.1, 30.0
"""Size of a weight over its row's below which it may have to be zero, and the price of any other, in squared steps."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RoundedTensor:
    """One tensor rounded with feedback."""

    plan: TensorPlan
    stored: StoredTensor
    estimate: SizeEstimate
    loss: float
    """Predicted increase of the loss in nats per token."""


@dataclass(frozen=True)
class EstimatedTensor:
    """One tensor rounded without feedback, of a large one some columns."""

    estimate: SizeEstimate
    loss: float
    """Predicted increase of the loss in nats per token."""


def estimate_pass(
    plans: Sequence[TensorPlan], weights: Mapping[str, Floats], factors: Mapping[str, Factors], rd_lambda: float | None
) -> dict[str, EstimatedTensor]:
    """Size and loss of each tensor as a rounding without feedback has them.

    `rd_lambda` is `QuantConfig.rd_lambda`, or None where no curvature is known.
    """
    total = sum(math.prod(plan.shape) for plan in plans)
    columns = max(LEAST_COLUMNS, min(SAMPLED_COLUMNS, SAMPLED_COLUMNS * MANY_WEIGHTS // max(total, 1)))
    with ThreadPoolExecutor(_workers()) as pool:
        found = pool.map(_estimate_tensor, plans, repeat(weights), repeat(factors), repeat(rd_lambda), repeat(columns))
        return {plan.name: entry for plan, entry in zip(plans, found, strict=True)}


def rounding_pass(
    plans: Iterable[TensorPlan],
    weights: Mapping[str, Floats],
    factors: Mapping[str, Factors],
    rd_lambda: float | None,
    progress: Progress,
) -> dict[str, RoundedTensor]:
    """Round tensors with feedback, the largest first, side by side."""
    order = sorted(plans, key=lambda plan: -math.prod(plan.shape))
    total, done, rounded = sum(math.prod(plan.shape) for plan in order), 0, {}
    with ThreadPoolExecutor(_workers()) as pool:
        found = pool.map(_round_tensor, order, repeat(weights), repeat(factors), repeat(rd_lambda))
        for plan, entry in zip(order, found, strict=True):
            rounded[plan.name] = entry
            done += math.prod(plan.shape)
            progress.update(done, total, f"rounded {plan.name}")
    return {name: rounded[name] for name in weights if name in rounded}


def _workers() -> int | None:
    """How many tensors are rounded at once."""
    return 1 if is_spilling() else os.cpu_count()


def is_zero(stored: StoredTensor) -> bool:
    """Tell a tensor of zeros; only the integer 0 stands for one on a trellis."""
    return not (stored.symbols_OI if isinstance(stored, RowColumnQuantized) else stored.weights()).any()


def zeros(plan: TensorPlan, weight: Floats) -> StoredTensor:
    """The smallest form of a tensor: every stepped weight zero."""
    if plan.format == ROW_COLUMN:
        return _stepped(plan, np.zeros(weight.shape, np.int16))
    return FORMATS[plan.format].nearest(plan, weight)


def _estimate_tensor(
    plan: TensorPlan,
    weights: Mapping[str, Floats],
    factors: Mapping[str, Factors],
    rd_lambda: float | None,
    most_columns: int,
) -> EstimatedTensor:
    """Round one tensor without feedback; of a large one some columns, and rows, stand for all.

    What feedback would bring into each weight stands in as noise of the same variance.
    """
    weight = weights[plan.name]
    if plan.format != ROW_COLUMN:
        found = _nearest(plan, weight, factors)
        return EstimatedTensor(found.estimate, found.loss)
    codes_O, codes_I = plan.codes()
    curve, take_O, take_I = _sampled(weight, factors[plan.name], most_columns)
    codes_O, codes_I, some = codes_O[take_O], codes_I[take_I], np.ascontiguousarray(weight[take_O][:, take_I])
    steps, rows = make_steps(plan.base, codes_O, codes_I), len(some)
    price = _price(some, steps, np.ones(rows), plan.states, rd_lambda)
    noise = np.random.default_rng(0).standard_normal(some.shape, np.float32)
    for here, part in curve.by_part(rows):
        noise[here] *= np.sqrt(_feedback_variance(some[here], steps[here], part, take_I))
    some = some + noise
    symbols = round_without_feedback(some, steps, plan.states, price)
    stored = RowColumnQuantized(plan.role, symbols, plan.base, codes_O, codes_I, plan.states)
    estimate, share = estimate_size(stored), weight.size / some.size
    assert estimate.counts_CM is not None
    counts = np.rint(estimate.counts_CM * share).astype(np.int64)
    own_bytes = estimate.own_bytes * sum(weight.shape) / sum(some.shape)
    error, loss = some - stored.weights(), 0.0
    for here, part in curve.by_part(rows):
        pivots = np.outer(part.row_factors_O, part.column_factors_I[take_I])
        loss += share * 0.5 * float(np.square(error[here] / pivots).sum())
    release(factors[plan.name])
    return EstimatedTensor(SizeEstimate(own_bytes, estimate.section, counts), loss)


def _sampled(
    weight: Floats, curve: Factors, most_columns: int
) -> tuple[Factors, slice | npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows and columns of a tensor that stand for all, evenly spaced, with the factors of these rows."""
    rows, columns = weight.shape
    large = weight.size > SAMPLED_ABOVE
    take_I = np.arange(0, columns, max(1, columns // most_columns) if large else 1)
    if not large or rows <= SAMPLED_ROWS or curve.parts or curve.outputs.ndim > 1:
        return curve, slice(None), take_I
    take_O = np.arange(0, rows, -(-rows // SAMPLED_ROWS))
    return dataclasses.replace(curve, outputs=curve.outputs[take_O]), take_O, take_I


def _feedback_variance(some: Floats, steps: Floats, curve: Factors, take: npt.NDArray[np.int64]) -> Floats:
    """Variance of what feedback adds to each weight before it is rounded.

    Errors e before feedback with variance c Δ² become errors of the weights with c κ² (VᵀV)_ii (UᵀU)_jj; what is not e
    came in by feedback. A weight that rounds to zero has no larger error than itself, and damping sees to it that no
    errors outgrow the weights.
    """
    pivots = np.outer(curve.row_factors_O, curve.column_factors_I[take])
    whole = np.outer(
        _diagonal_of_square(curve.outputs), _diagonal_of_square(curve.inputs[..., take % len(curve.inputs)])
    )
    grown = np.maximum(whole / pivots**2 - 1, 0)  # of an error that carries on into the weights behind it
    errors = np.minimum(STEP_MSE, np.square(some / steps) + STEP_MSE * grown) * steps**2
    variance: Floats = np.minimum(errors * grown, np.square(some).mean()).astype(np.float32)
    return variance


def _diagonal_of_square(factor: Reals) -> Doubles:
    """The diagonal of UᵀU, of a factor that may be given by its diagonal."""
    square = np.square(factor, dtype=np.float64)
    diagonal: Doubles = square.sum(axis=0) if factor.ndim == 2 else square
    return diagonal


def _round_tensor(
    plan: TensorPlan, weights: Mapping[str, Floats], factors: Mapping[str, Factors], rd_lambda: float | None
) -> RoundedTensor:
    weight = weights[plan.name]
    if plan.format != ROW_COLUMN:
        return _nearest(plan, weight, factors)
    curve, (codes_O, codes_I) = factors[plan.name], plan.codes()
    rounded, state_I = [], np.zeros(weight.shape[1], np.int64)
    for here, part in _row_parts(curve, len(weight)):
        steps = make_steps(plan.base, codes_O[here], codes_I)
        price = _price(weight[here], steps, part.row_factors_O, plan.states, rd_lambda)
        rounded.append(
            round_with_feedback(weight[here], steps, part, states=plan.states, lambda_OI=price, state_I=state_I)
        )
    symbols_OI = rounded[0].symbols_OI if len(rounded) == 1 else np.concatenate([one.symbols_OI for one in rounded])
    release(curve)
    stored = _stepped(plan, symbols_OI)
    return RoundedTensor(plan, stored, estimate_size(stored), sum(one.loss for one in rounded))


def _row_parts(curve: Factors, rows: int) -> list[tuple[slice, Factors]]:
    """Which rows are rounded together; of many that take up no errors of each other some at a time, to spare memory."""
    if curve.parts or curve.outputs.ndim > 1 or rows <= MAX_ROWS:
        return curve.by_part(rows)
    return [
        (slice(begin, begin + MAX_ROWS), dataclasses.replace(curve, outputs=curve.outputs[begin : begin + MAX_ROWS]))
        for begin in range(0, rows, MAX_ROWS)
    ]


def _nearest(plan: TensorPlan, weight: Floats, factors: Mapping[str, Factors]) -> RoundedTensor:
    """One tensor without trellis or feedback."""
    stored = FORMATS[plan.format].nearest(plan, weight)
    if plan.format != PER_CHANNEL:
        return RoundedTensor(plan, stored, estimate_size(stored), 0.0)
    parts = FORMATS[PER_CHANNEL].plain_parts(stored).items()
    estimate = SizeEstimate(sum(trial_bytes(data, section.number_bytes) for section, data in parts))
    error = weight - stored.weights().reshape(weight.shape)
    return RoundedTensor(plan, stored, estimate, factors[plan.name].loss(error))


def _price(weight: Floats, steps: Floats, row_factors_O: Reals, states: int, rd_lambda: float | None) -> Floats | None:
    """Cost of one unit of magnitude: a bit's price times the bits that the next integer costs.

    Of a normal distribution with deviation s, in units of the grid, a magnitude near its mean costs about 1.15 / s
    bits more than the one below.
    """
    if rd_lambda is None:
        return _keep_small_weights_small(weight, steps, row_factors_O, states)
    if rd_lambda == 0.0:
        return None
    squares = weight.astype(np.float64) ** 2
    spread = np.sqrt(np.outer(squares.mean(axis=1), squares.mean(axis=0)) / max(float(squares.mean()), 1e-30))
    grid = steps * (1 if states == SCALAR else 2)
    unit = (steps / row_factors_O[:, None]) ** 2
    price: Floats = (rd_lambda * unit * 1.15 / np.maximum(spread / grid, 0.3)).astype(np.float32)
    return price


def _keep_small_weights_small(weight: Floats, steps: Floats, row_factors_O: Reals, states: int) -> Floats:
    """A price that no weight pays unless rounding to nearest makes it zero and it is tiny in its row.

    Without curvature a weight next to nothing beside large ones may be so because it reads a loud input, which rounding
    to nearest keeps out. A path through the trellis would give it half a step, many times its size.
    """
    half_steps = 0.5 * steps if states == SCALAR else math.sqrt(3 * STEP_MSE) * steps
    tiny_O = TINY * np.sqrt(np.square(weight, dtype=np.float64).mean(axis=1))
    zero = np.abs(weight) < np.minimum(half_steps, tiny_O[:, None])
    return np.where(zero, FORBIDDEN * (steps / row_factors_O[:, None]) ** 2, 0.0).astype(np.float32)


def _stepped(plan: TensorPlan, symbols_OI: npt.NDArray[np.int16]) -> RowColumnQuantized:
    axes = plan.shape if len(plan.shape) > 2 else ()
    return RowColumnQuantized(plan.role, symbols_OI, plan.base, *plan.codes(), plan.states, axes, plan.row_axes)
