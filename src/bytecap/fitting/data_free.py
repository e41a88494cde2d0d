"""Steps of weights of which nothing was measured: what follows from their own numbers.

In:   weights by name.
Out:  for each matrix factors, for everything else one step, at one multiplier κ for all.

An error counts relative to the weights that it is an error of: with inputs of identity covariance the error of a
tensor's outputs over their size is ‖E‖ / ‖W‖, and tensors one behind the other add their squares. At equal slope the
step of a tensor is κ ‖W‖, its root mean square times the root of how many weights it has: a small tensor has the finer
steps, and what reads the inputs of a model finer ones, because its errors go through everything behind it. Columns of
a matrix follow their own size in part: what reads large inputs has small weights. Its rows have one step, because
a unit is large where others read it; but gates of recurrent layers follow their own size, since large ones saturate,
and outputs of a model do, since each has its own unit. Rows of a kernel, of any width, follow theirs in part: a norm
behind an output undoes its size, a sum with others does not. Along a kernel's places errors are fed back, since
neighbouring places of a picture or signal are alike and errors of one sign would add up.

Letters: O rows, I columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bytecap.fitting.structure import Part, guess_parts
from bytecap.quant.allocation import STEP_MSE, PerTensorStep, Shape
from bytecap.quant.factors import Factors

SIZE_POWER = 0.5
"""Power of the number of weights in a tensor's step."""
ROW_POWER, COLUMN_POWER, GATE_POWER = 0.0, 0.5, 1.0
"""Powers of the root mean squares of a matrix's rows and columns in their steps, and of gates and of outputs."""
INPUT_STEP = 0.5
"""Steps of a matrix that reads a model's inputs, over those of others."""
KERNEL_ROW_POWER = 0.5
"""Power of the size of a kernel's outputs in the steps of its rows."""
LEAST_RATIO = 1e-4
"""Share of all rows' mean square (or all columns') at which the mean square of one is held, if it is smaller."""
NEIGHBOURS = 0.8
"""Correlation of what a kernel reads at neighbouring places; it falls off by as much from each place to the next."""
LEAST_CORRELATION = 0.15
"""Correlation of a kernel's neighbouring weights from which what it reads is taken for correlated as well."""
MOST_FED_BACK = 1_024
"""Places of a kernel, or its rows if places are among them, beyond which nothing is fed back: a factor has as many."""
REFERENCE_WEIGHTS = 65_536
"""Weights of a tensor whose steps are κ times its root mean square."""
FINEST_STEP, COARSEST_STEP = 2.0**-10, 2.0**-3
"""Bounds of the step of a vector, relative to the size of its numbers."""
LARGE_VECTOR = 4_096
"""Numbers of a vector beyond which its coarsest step grows: so many are no gains, and would hold a file up."""
MEDIAN_OF_NORMAL = 0.6745
"""Median of the magnitudes of normally distributed numbers, in standard deviations."""
SMALLEST = 1e-33
"""Size of numbers below which a step would be near the end of what 32 bits hold."""

Floats = npt.NDArray[np.float32]
UNKNOWN = Part()


def matrix_factors(weight_OI: Floats, places: tuple[int, ...] = (), part: Part = UNKNOWN) -> Factors:
    """Factors of one matrix, with feedback along `places` alone: a kernel's last axes, as far as they are columns."""
    squares_O = output_squares(weight_OI, places)
    scale = math.sqrt(float(squares_O.mean()) or 1.0) * _share(weight_OI.size)
    follows = part.gates == 0 or part.gives_output
    row_power = KERNEL_ROW_POWER if places else GATE_POWER if follows else ROW_POWER
    rows_O = _relative_sizes(squares_O) ** row_power
    if math.prod(places) > 1:
        return _kernel_factors(weight_OI, places, scale * rows_O)
    columns_I = _relative_sizes(np.square(weight_OI, dtype=np.float64).mean(axis=0))
    columns_I **= GATE_POWER if part.gates == 1 else COLUMN_POWER
    return Factors(columns_I, scale * rows_O * (INPUT_STEP if part.reads_input else 1.0))


def _kernel_factors(weight_OI: Floats, places: tuple[int, ...], rows_O: npt.NDArray[np.float64]) -> Factors:
    """Factors of a kernel: an error at one place is made up for at the next ones, which read nearly the same.

    For a correlation ρ that falls off from place to place, feedback is from each place to the next along each axis. Of
    kernels that read one channel, a raw signal or picture, it is supposed even where their weights do not show it, as
    those of waves; but then steps are on average as fine as without.
    """
    if math.prod(places) > MOST_FED_BACK:
        return Factors(np.ones(weight_OI.shape[1]), rows_O)
    factor = np.ones((1, 1))
    channels = weight_OI.shape[1] // math.prod(places)
    for axis, width in enumerate(places, 1):
        shown = _reads_alike(weight_OI.reshape(-1, *places), axis)
        alike = NEIGHBOURS if shown or channels == 1 else 0.0
        along = np.eye(width) - alike * np.eye(width, k=1)
        along[:-1] /= math.sqrt(1 - alike**2)
        if not shown:
            along /= math.exp(float(np.log(np.diagonal(along)).mean()))
        factor = np.asarray(np.kron(factor, along), np.float64)
    return Factors(factor, rows_O, repeats=channels)


def outputs_last_factors(weight_OI: Floats, shape: tuple[int, ...]) -> Factors:
    """Factors of a kernel of shape (places, inputs, outputs): those that it has in the other order, turned.

    Its columns are outputs, its rows places and inputs, so what is fed back to the next places goes down a column.
    """
    *places, channels, outputs = shape
    turned = np.moveaxis(weight_OI.reshape(shape), (-1, -2), (0, 1)).reshape(outputs, -1)
    found = matrix_factors(np.ascontiguousarray(turned), tuple(places))
    rows = len(weight_OI)
    if found.inputs.ndim == 1 or rows > MOST_FED_BACK or not np.triu(found.inputs, 1).any():
        return Factors(found.outputs, np.ones(rows))
    return Factors(found.outputs, np.kron(found.inputs, np.eye(channels)))


def _reads_alike(kernels: Floats, axis: int) -> bool:
    """Tell an axis of pictures and signals from one of symbols, whose neighbours have nothing in common.

    Weights are as correlated from place to place as what they have learned from.
    """
    width = kernels.shape[axis]
    before, after = (np.take(kernels, range(start, start + width - 1), axis).astype(np.float64) for start in (0, 1))
    sizes = float(np.square(before).sum()) * float(np.square(after).sum())
    return float((before * after).sum()) >= LEAST_CORRELATION * math.sqrt(sizes)


def _relative_sizes(squares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Roots of mean squares, relative to that of all."""
    found: npt.NDArray[np.float64] = np.sqrt(np.maximum(squares / (float(squares.mean()) or 1.0), LEAST_RATIO))
    return found


def output_squares(weight_OI: Floats, places: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """(O,): mean squares of outputs over those of an error's of size 1, which has as many ups as downs.

    Over places inputs are alike, so what a kernel adds up is large and what it takes differences of is small.
    """
    wide = weight_OI.astype(np.float64).reshape(len(weight_OI), -1, *places)
    seen = wide
    for axis, width in enumerate(places, 2):
        apart = np.abs(np.subtract.outer(np.arange(width), np.arange(width)))
        seen = np.moveaxis(np.tensordot(seen, NEIGHBOURS**apart, axes=(axis, 0)), -1, axis)
    return np.asarray((wide * seen).reshape(weight_OI.shape).mean(axis=1), np.float64)


def vector_step(weight: Floats) -> PerTensorStep | None:
    """The step of a tensor that is no matrix, at κ = 1; None for zeros, and where floats alone are fine enough."""
    size = number_size(weight)
    if size < SMALLEST:
        return None
    step = math.sqrt(12 * STEP_MSE) * size * _share(weight.size)
    coarsest = COARSEST_STEP * size * max(1.0, math.sqrt(weight.size / LARGE_VECTOR))
    return PerTensorStep(step, coarsest, FINEST_STEP * size)


def number_size(weight: Floats) -> float:
    """What an error in a vector is relative to: the size of its numbers.

    Numbers of one sign, such as gains and variances, multiply or divide: there each error is relative to its own
    number, so the small ones count, and the size is their harmonic mean square. Of numbers of both signs it is their
    root mean square, or where a few are far larger than the others (means of channels of other units) that of a normal
    distribution with the same median.
    """
    squares = np.square(weight, dtype=np.float64)
    if (weight > 0).all() or (weight < 0).all():
        return 1 / math.sqrt(float(np.mean(1 / np.maximum(squares, 1e-300))))
    if not squares.any():
        return 0.0
    return min(math.sqrt(float(squares.mean())), math.sqrt(float(np.median(squares[squares > 0]))) / MEDIAN_OF_NORMAL)


def _share(count: int) -> float:
    return math.pow(count / REFERENCE_WEIGHTS, SIZE_POWER)


def data_free_steps(weights: Mapping[str, Floats]) -> dict[str, PerTensorStep]:
    """The step of every vector that is not zero."""
    found = {name: vector_step(weight) for name, weight in weights.items()}
    return {name: step for name, step in found.items() if step is not None}


def relative_factors(
    shapes: Sequence[Shape], weights: Mapping[str, Floats], measured: Mapping[str, Factors], names: Iterable[str]
) -> dict[str, Factors]:
    """Steps in proportion to the root mean square of each weight, in the proportion that is usual among the measured.

    Where nothing is known of a weight, the same relative error as elsewhere is the least harmful guess.
    """
    if not measured:
        entries, parts = {entry.name: entry for entry in shapes}, guess_parts(shapes)
        return {
            name: outputs_last_factors(weights[name], entries[name].shape) if entries[name].outputs_last
            else matrix_factors(weights[name], entries[name].places, parts.get(name, UNKNOWN))
            for name in names
        }  # fmt: skip
    usual = [
        float(np.log(f.row_factors_O).mean() + np.log(f.column_factors_I).mean()) - math.log(rms)
        for name, f in measured.items()
        if (rms := math.sqrt(mean_square(weights[name]))) > 0
    ]
    proportion = math.exp(float(np.median(usual))) if usual else 1.0
    found = {}
    for name in names:
        rows, columns = weights[name].shape
        rms = math.sqrt(mean_square(weights[name])) or 1.0
        found[name] = Factors(np.ones(columns), np.full(rows, proportion * rms))
    return found


def mean_square(weight: Floats) -> float:
    """The mean square of all numbers, at 64 bits."""
    return float(np.square(weight, dtype=np.float64).mean())
