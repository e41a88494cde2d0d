"""A size search whose file is held against the loss itself, and against those that no calibration is needed for.

In:   a FitProblem with curvature, the true loss on some batches.
Out:  a FitResult, the best of what was tried.

Curvature is that of the loss at the original weights: right for small errors. Where rounding leaves the range in which
the loss is a parabola (logarithms and square roots of what is nearly zero, saturated outputs), one tensor's curvature
may be a thousand times too large and another's too small, and then bytes go to the wrong ones. So each tensor is
replaced alone, the loss looked at, and its curvature multiplied by what it was wrong by: that of the secant as far out
as the errors go, instead of the tangent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bytecap.core.errors import BudgetError
from bytecap.core.progress import Progress, Silent
from bytecap.fitting.plain_integers import build_plain_problem
from bytecap.fitting.problem import build_problem
from bytecap.fitting.result import FitResult
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.true_loss import Floats, Increase, TrueLoss
from bytecap.formats.per_tensor import PER_TENSOR

TRUSTED = 2.0
"""Factor between true and predicted loss up to which the prediction stands."""
MAX_CORRECTIONS, MIN_GAIN = 3, 0.95
"""Rounds of correction, and the share of the loss below which the next one is tried."""
MUCH_WORSE = 1.1
"""Times the loss of the best file that plain rounding may have at about its size for its file to be made too."""
PRIOR_SHARE = 0.02
"""Share of the whole loss that each tensor's is pulled by towards what all together were wrong by."""
MOST_WRONG, SMALLEST = 2.0**20, 1e-30
"""Bound of one correction, and the predicted loss below which there is none."""


@dataclass
class CheckedSearch(SizeSearch):
    """A size search that tries more files where the loss is not what was predicted."""

    true_loss: TrueLoss | None = None

    def fit(self, file_bytes: int | None, progress: Progress) -> FitResult:
        """The largest file found at most `file_bytes`, of all ways the one with the least true loss."""
        search: SizeSearch = self
        best, calibration = super().fit(file_bytes, progress), self.problem.calibration
        assert self.true_loss is not None and calibration is not None, "there is nothing to check it on"
        increase = first = self.true_loss(_weights(best))
        thin, predicted = calibration.min_damping > 0, best.loss or 0.0
        if not first.known:
            return best
        if not thin and _agree(increase, best):
            return self._better(best, increase, file_bytes, progress, trusted=True)
        for _ in range(MAX_CORRECTIONS if not _agree(first, best) else 0):
            search = SizeSearch(search.problem.with_curvature(self._wrong_by(best, search, increase)), self.pack)
            try:
                found = search.fit(file_bytes, progress)
            except BudgetError:
                break
            before, after = increase, self.true_loss(_weights(found))
            if after.mean < increase.mean:
                best, increase = found, after
            if not after.mean <= MIN_GAIN * before.mean or _agree(after, found):
                break
        if increase is not first:
            progress.note(
                f"the loss grows by {first.mean:.3g} nats a position where curvature predicts {predicted:.3g}; each "
                "tensor's curvature was corrected by the loss that rounding it alone costs, which leaves "
                f"{increase.mean:.3g}"
            )
        return self._better(best, increase, file_bytes, progress, trusted=False)

    def _better(
        self, best: FitResult, increase: Increase, file_bytes: int | None, progress: Progress, *, trusted: bool
    ) -> FitResult:
        """The fit, or plain rounding, or where it is not trusted the fit without calibration, by the loss of each."""
        assert self.true_loss is not None
        source, config = self.problem.source, self.problem.config
        ways = {"plain rounding costs": build_plain_problem(source, config)}
        if not trusted:
            ways["steps by the size of the weights cost"] = build_problem(source, None, config)
        kept = ""
        for way, problem in ways.items():
            search = SizeSearch(problem, self.pack)
            try:
                if problem.per_channel and self._roughly(search, file_bytes) > MUCH_WORSE * increase.mean:
                    continue
                other = search.fit(file_bytes, Silent())
            except BudgetError:
                continue
            found = self.true_loss(_weights(other))
            if found.mean < increase.mean:
                kept = kept or f"{increase.mean:.3g}"
                progress.note(
                    f"{way} {found.mean:.3g} nats a position, steps by curvature {kept}, on batches to compare on: the "
                    "file is the one that follows no calibration. Give more, and more different, samples"
                )
                best, increase = other, found
        return best

    def _roughly(self, search: SizeSearch, file_bytes: int | None) -> float:
        """The true loss at about so many bytes: no file is made, which is most of the work of plain rounding."""
        assert self.true_loss is not None and file_bytes is not None
        problem, scale = search.problem, search.predict(file_bytes, Silent()).step_scale
        rounded = problem.round(problem.plan(scale).tensors, Silent())
        return self.true_loss({name: entry.stored.weights() for name, entry in rounded.items()}).mean

    def _wrong_by(self, result: FitResult, search: SizeSearch, increase: Increase) -> dict[str, float]:
        """What each tensor's curvature is to be multiplied by: its loss alone over the predicted one."""
        assert self.true_loss is not None
        predicted = _predicted(result, search)
        whole = sum(predicted.values())
        found = {}
        for name, expected in predicted.items():
            alone = self.true_loss({name: result.model.tensors[name].weights()}).mean
            true = max(alone, 0.0) + PRIOR_SHARE * increase.mean if math.isfinite(alone) else math.inf
            wrong_by = true / max(expected + PRIOR_SHARE * whole, SMALLEST)
            found[name] = min(max(wrong_by, 1 / MOST_WRONG), MOST_WRONG)
        return found


def _agree(increase: Increase, result: FitResult) -> bool:
    """Return whether the loss is what was predicted, to a factor."""
    predicted = result.loss or 0.0
    return predicted / TRUSTED <= increase.mean <= predicted * TRUSTED


def _weights(result: FitResult) -> Mapping[str, Floats]:
    return {name: tensor.weights() for name, tensor in result.model.tensors.items()}


def _predicted(result: FitResult, search: SizeSearch) -> dict[str, float]:
    """The predicted loss of each tensor of which something was measured, also of those with one step."""
    problem = search.problem
    assert problem.calibration is not None
    found = {n: loss * problem.loss_share for n, loss in result.losses.items() if n in problem.measured}
    for plan in result.plan.tensors:
        if plan.format == PER_TENSOR and plan.name in problem.calibration.vectors:
            error = problem.weights[plan.name].ravel() - result.model.tensors[plan.name].weights().ravel()
            fisher = problem.calibration.vectors[plan.name]
            found[plan.name] = 0.5 * fisher * float(np.square(error, dtype=np.float64).sum())
    return found
