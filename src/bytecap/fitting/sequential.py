"""Rounding one tensor after the other, with those still unquantized trained in between.

In:   a problem, its plan, what adapts the unquantized tensors (quant/distillation.py).
Out:  the weights that were rounded, and all roundings as candidates for the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bytecap.core.progress import Progress
from bytecap.fitting.problem import FitProblem
from bytecap.fitting.refine import MAX_OCTAVES, Candidates
from bytecap.formats.plan import BitPlan, TensorPlan
from bytecap.formats.row_column import ROW_COLUMN
from bytecap.formats.size_estimate import coded_bytes
from bytecap.formats.steps import make_steps
from bytecap.formats.tensor import QuantizedModel
from bytecap.quant.allocation import STEP_MSE

Floats = npt.NDArray[np.float32]


class Adapt(Protocol):
    """What changes unquantized tensors to make up for rounded ones."""

    def __call__(self, name: str, value: Floats, errors: Mapping[str, float]) -> dict[str, Floats]:
        """From a tensor, what it was rounded to and the coming root mean square errors of those still unquantized, to
        their new values."""

    def divergence(self, weights: Mapping[str, Floats]) -> float:
        """How far a model with these weights is from the original, on text that nothing was adapted on."""


StartAdaptation = Callable[[list[str]], Adapt]
"""Begins with the names of all tensors that may change."""


def round_sequentially(
    problem: FitProblem, plan: BitPlan, candidates: Candidates, adapt: Adapt, progress: Progress
) -> tuple[Mapping[str, Floats], list[str], float]:
    """Round tensor after tensor, each time adapting the others to it.

    Returns the weights that were rounded, the tensors from the last on, and by how many octaves the last steps were
    finer than planned. Tables are shared, so the size of what is unquantized is estimated anew before every tensor.
    """
    weights, order = dict(problem.weights), _rounding_order(plan)
    finer = 0.0
    for place, name in enumerate(order):
        finer += _correction(problem, plan, candidates, weights, order[place:], finer)
        coming = _unquantized(plan, candidates, finer)
        candidates.accept(problem.round([tensor for tensor in coming if tensor.name == name], progress, weights))
        errors = {t.name: _root_mean_square_error(t) for t in coming if t.format == ROW_COLUMN and t.name != name}
        adapted = adapt(name, candidates.current[name].stored.weights(), errors)
        weights |= {n: w.reshape(problem.weights[n].shape) for n, w in adapted.items()}
        progress.update(place + 1, len(order), f"rounded {name}, the others adapted")
    candidates.accept(problem.round([t for t in plan.tensors if t.format != ROW_COLUMN], progress, weights))
    candidates.current = {name: candidates.current[name] for name in problem.weights}  # in the order of the file
    return weights, order[::-1], finer


def nearer(adapt: Adapt, adapted: QuantizedModel, plain: QuantizedModel, progress: Progress) -> bool:
    """Tell whether the adapted model is nearer to the original than the one that was rounded as it is, and say so."""
    with_it, without = (
        adapt.divergence({name: tensor.weights() for name, tensor in model.tensors.items()})
        for model in (adapted, plain)
    )
    if not with_it < without:
        progress.note(
            f"distillation did not pay: KL {with_it:.4g} nats with it, {without:.4g} without, on text set apart; the "
            "file is the one without"
        )
    return with_it < without


def _unquantized(plan: BitPlan, candidates: Candidates, finer: float) -> list[TensorPlan]:
    return [tensor.finer(finer) for tensor in plan.tensors if tensor.name not in candidates.current]


def _correction(
    problem: FitProblem, plan: BitPlan, candidates: Candidates, weights: Mapping[str, Floats], left: list[str],
    finer: float,
) -> float:  # fmt: skip
    """Octaves by which the steps of all that is left must be finer, as far as one move goes."""
    estimated = problem.estimate(_unquantized(plan, candidates, finer), weights)
    known = {name: entry.estimate for name, entry in estimated.items()}
    known |= {name: entry.estimate for name, entry in candidates.current.items()}
    gap_bytes = candidates.target_coded_bytes - sum(coded_bytes(known).values())
    n_left = sum(problem.weights[name].size for name in left)
    return float(np.clip(8 * gap_bytes / n_left, -MAX_OCTAVES, MAX_OCTAVES))


def _rounding_order(plan: BitPlan) -> list[str]:
    """The largest first, so that little is left to round when nothing is left to make up for it."""
    stepped = [tensor for tensor in plan.tensors if tensor.format == ROW_COLUMN]
    return [tensor.name for tensor in sorted(stepped, key=lambda tensor: -math.prod(tensor.shape))]


def _root_mean_square_error(plan: TensorPlan) -> float:
    """Error of rounding a tensor at its steps, without feedback."""
    steps = make_steps(plan.base, *plan.codes())
    return math.sqrt(STEP_MSE * float(np.square(steps, dtype=np.float64).mean()))
