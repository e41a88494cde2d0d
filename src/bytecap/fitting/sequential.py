"""Rounding one tensor after the other, with those still unquantized changed in between.

In:   a problem, its plan, what adapts the unquantized tensors (quant/distillation.py, quant/compensation.py).
Out:  the weights that were rounded, and all roundings as candidates for the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

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
Doubles = npt.NDArray[np.float64]


class Adapt(Protocol):
    """What trains unquantized tensors to make up for rounded ones."""

    def __call__(self, name: str, value: Floats, errors: Mapping[str, float]) -> dict[str, Floats]:
        """From a tensor, what it was rounded to and the coming root mean square errors of those still unquantized, to
        their new values."""

    def divergence(self, weights: Mapping[str, Floats]) -> float:
        """How far a model with these weights is from the original, on text that nothing was adapted on."""


@runtime_checkable
class Compensate(Protocol):
    """What corrects tensors before they are rounded, group after group in the order of the pass."""

    groups: list[Any]
    """Each a list of entries with a `name`."""

    def fix(self, rounded: Mapping[str, Floats]) -> None:
        """Give each tensor the values that it was rounded to."""

    def divergence(self, weights: Mapping[str, Floats]) -> float:
        """How far a model with these weights is from the original, on text that nothing was fitted to."""

    def corrected(self, group: Any, gain: Callable[[str, Doubles, Doubles, Doubles], float]) -> dict[str, Floats]:
        """New values of a group, without those that stay; `gain` is `Gain` of quant/compensation.py."""


StartAdaptation = Callable[[list[str]], Adapt | Compensate]
"""Begins with the names of all tensors that may change."""


def round_sequentially(
    problem: FitProblem, plan: BitPlan, candidates: Candidates, adapt: Adapt, progress: Progress
) -> tuple[Mapping[str, Floats], list[str], float]:
    """Round tensor after tensor, each time adapting the others to it.

    Returns the weights that were rounded, the tensors from the last on, and by how many octaves the last steps were
    finer than planned. Tables are shared, so the size of what is unquantized is estimated again before every tensor.
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


def round_compensated(
    problem: FitProblem, plan: BitPlan, candidates: Candidates, compensate: Compensate, progress: Progress
) -> tuple[Mapping[str, Floats], list[str]]:
    """Round the linear maps in the order of the pass, each corrected for all that was rounded before, after the rest.

    Returns the weights that were rounded, and the tensors with steps for rows and columns from the last on. A
    correction must lower the loss by more than its rate would elsewhere, where a nat of it lowers it by 0.28 κ².
    """
    weights, plans = dict(problem.weights), {tensor.name: tensor for tensor in plan.tensors}
    stepped = {name for name, tensor in plans.items() if tensor.format == ROW_COLUMN}
    groups = [[entry for entry in group if entry.name in stepped] for group in compensate.groups]
    order = [entry.name for group in groups for entry in group]

    def gain(name: str, change_OI: Doubles, wanted_OI: Doubles, inputs_II: Doubles) -> float:
        rate = _rate(plans[name], weights[name] + change_OI) - _rate(plans[name], weights[name])
        return _fall(problem, name, change_OI, wanted_OI, inputs_II) - rate * STEP_MSE * plan.step_scale**2

    def round_some(names: Sequence[str]) -> None:
        rounded = problem.round([plans[name] for name in names], progress, weights)
        candidates.accept(rounded)
        compensate.fix({name: entry.stored.weights() for name, entry in rounded.items()})

    round_some([name for name in plans if name not in set(order)])
    for place, group in enumerate(filter(None, groups)):
        weights |= compensate.corrected(group, gain)
        round_some([entry.name for entry in group])
        progress.update(place + 1, len(groups), f"rounded {group[-1].name}, the next ones make up for it")
    candidates.current = {name: candidates.current[name] for name in problem.weights}  # in the order of the file
    first = sorted(stepped.difference(order), key=lambda name: problem.weights[name].size)
    return weights, [*order[::-1], *first]


def _fall(problem: FitProblem, name: str, change_OI: Doubles, wanted_OI: Doubles, inputs_II: Doubles) -> float:
    """Nats per token by which a change lowers the loss of the error that it is to make up for, by its curvature G."""
    assert problem.calibration is not None, "corrections are made with measured curvature"
    found = problem.calibration.tensors.get(name)
    if found is None:
        return -math.inf
    better_OI = wanted_OI - 0.5 * change_OI @ inputs_II
    G_OO = found.outputs if found.outputs.ndim == 2 else np.diag(found.outputs)
    return float(((G_OO.astype(np.float64) @ change_OI) * better_OI).sum())


def _rate(plan: TensorPlan, weight_OI: npt.NDArray[np.floating]) -> float:
    """Rate of a weight in nats at the steps of its plan, each number of a normal distribution by row and column."""
    squares = weight_OI.astype(np.float64) ** 2
    spread = np.outer(squares.mean(axis=1), squares.mean(axis=0)) / max(float(squares.mean()), 1e-30)
    steps = make_steps(plan.base, *plan.codes()).astype(np.float64)
    return float(0.5 * np.log1p(spread / (STEP_MSE * steps**2)).sum())


def nearer(adapt: Adapt | Compensate, adapted: QuantizedModel, plain: QuantizedModel, progress: Progress) -> bool:
    """Return whether the adapted model has less KL to the original than the plainly rounded one; note it if not."""
    with_it, without = (
        adapt.divergence({name: tensor.weights() for name, tensor in model.tensors.items()})
        for model in (adapted, plain)
    )
    if not with_it < without:
        what = "compensation" if isinstance(adapt, Compensate) else "distillation"
        progress.note(
            f"{what} did not help: KL {with_it:.4g} nats with it, {without:.4g} without, on held-out batches; the "
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
