"""From a number of bytes to the largest file below it: a multiplier for all steps, then single tensors.

In:   a FitProblem, a function that packs a QuantizedModel and gives its bytes, perhaps distillation.
Out:  a FitResult.

The size falls by one bit per weight when the steps double. An estimate pass (no feedback, some of the columns) tells
the size of a full rounding within a percent, so the full rounding is done once; then single tensors, the smaller the
closer, are rounded again with slightly other steps until the real file is just under the cap (`refine.py`).

With distillation tensors are rounded one after the other, the unquantized ones trained in between (`sequential.py`).

Nothing is kept from one size for the next: the same size gives the same file, whatever was fitted before.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bytecap.core.budget import MIN_SLACK_BYTES, refuse_small_cap, slack_bytes
from bytecap.core.compiled import compiles_first
from bytecap.core.progress import Progress
from bytecap.fitting.passes import RoundedTensor, is_zero, zeros
from bytecap.fitting.problem import FitProblem
from bytecap.fitting.refine import MAX_STEP_SCALE, MIN_STEP_SCALE, Candidates, bytes_per_octave, refine
from bytecap.fitting.result import FitResult, Prediction
from bytecap.fitting.sequential import Compensate, StartAdaptation, nearer, round_compensated, round_sequentially
from bytecap.formats.floats import FLOAT32, SCALED_FLOAT16
from bytecap.formats.plan import BitPlan
from bytecap.formats.row_column import ROW_COLUMN
from bytecap.formats.size_estimate import coded_bytes
from bytecap.formats.table import estimate_size
from bytecap.formats.tensor import QuantizedModel
from bytecap.quant.allocation import SCHEME
from bytecap.quant.kernels import round_block

MAX_SECANT_STEPS, SIZE_TOLERANCE = 24, 0.002
"""Estimate passes of one search, and how near, as a share, the estimated size must come."""
MIN_RESPONSE, MAX_RESPONSE = 1 / 16, 2.0
"""Bounds of the bytes that an octave gives in a secant step, as a share of what is expected."""

REST, MIN_NAMED_SHARE = "header and tokenizer", 0.02
"""What is no tensor, and the share of the smallest file from which a part of it is named."""

_FLOAT_BYTES = {SCALED_FLOAT16: 2, FLOAT32: 4}

Pack = Callable[[QuantizedModel], bytes]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Smallest:
    """The smallest file that a model can make, and what a file holds in addition to its coded tensors."""

    size_bytes: int
    overhead_bytes: float
    kept: tuple[str, ...]
    """Names of the tensors that stay at 16 or 32 bits, the largest first, where those take most of the file."""
    parts: tuple[tuple[str, int], ...]
    """Bytes of each tensor that takes some of it, and of all that is no tensor, the largest first."""


@dataclass(frozen=True)
class _Estimated:
    """A prediction with the problem that it was made for."""

    prediction: Prediction
    problem: FitProblem


@dataclass
class SizeSearch:
    """One problem and any number of sizes; a Fitter."""

    problem: FitProblem
    pack: Pack
    start_adaptation: StartAdaptation | None = None
    """The function that begins a distillation; None for no distillation."""
    _known: dict[int, _Estimated] = field(default_factory=dict, repr=False)
    """What was predicted already, by size; a prediction depends on nothing else."""
    _smallest: _Smallest | None = field(default=None, repr=False)

    @property
    def scheme(self) -> str:
        """The name that stands in reports."""
        return SCHEME

    def smallest(self) -> _Smallest:
        """The file in which every weight that can be zero is zero."""
        if self._smallest is None:
            weights = self.problem.weights
            plan = self.problem.plan(MAX_STEP_SCALE)
            tensors = {tensor.name: zeros(tensor, weights[tensor.name]) for tensor in plan.tensors}
            model = QuantizedModel(tensors)
            size = len(self.pack(model))
            coded = coded_bytes({name: estimate_size(tensor) for name, tensor in tensors.items()})
            size_bytes, overhead = max(size, model.min_file_bytes), size - sum(coded.values())
            parts = sorted((coded | {REST: overhead}).items(), key=lambda part: -part[1])
            held = tuple((name, round(each)) for name, each in parts if each >= MIN_NAMED_SHARE * size_bytes)
            self._smallest = _Smallest(size_bytes, overhead, _kept(plan, size_bytes), held)
        return self._smallest

    def refuse_small_cap(self, file_bytes: int, slack: int = 0) -> None:
        """Raise BudgetError where even the smallest file, with some slack, is larger than `file_bytes`."""
        smallest = self.smallest()
        refuse_small_cap(smallest.size_bytes + slack, file_bytes, smallest.kept, smallest.parts)

    def predict(self, file_bytes: int, progress: Progress) -> Prediction:
        """The multiplier whose estimated size is `file_bytes`; BudgetError when no file can be that small."""
        if compiles_first(round_block):
            progress.note("the first fit of an installation compiles its loops, some 15 s of one core; they are kept")
        return self._predicted(file_bytes, progress).prediction

    def fit(self, file_bytes: int | None, progress: Progress) -> FitResult:
        """The largest file found that is at most `file_bytes`; BudgetError when there is none."""
        assert file_bytes is not None, "this way has no size of its own"
        result = self._fit(file_bytes, self._predicted(file_bytes, progress), progress)
        lost = _lost(result, self.problem.weights)
        if lost and file_bytes - len(result.data) >= sum(self.problem.weights[name].size for name in lost) / 8:
            # Bytes are left and whole tensors are zero: their curvature was wrongly found next to nothing.
            progress.note(f"{', '.join(lost[:5])} came out all zero with bytes left; steps relative to their own scale")
            problem = self.problem.with_relative_steps(lost)
            again = SizeSearch(problem, self.pack, self.start_adaptation)
            return again._fit(file_bytes, again._predicted(file_bytes, progress), progress)
        return result

    def finer(self, file_bytes: int, step_scale: float, progress: Progress) -> Prediction:
        """The prediction for steps a quarter octave finer than `step_scale`, damped as for `file_bytes`."""
        return self.estimate(self._predicted(file_bytes, progress).problem, step_scale / 2**0.25)

    def estimate(self, problem: FitProblem, step_scale: float) -> Prediction:
        """Size and loss of a fit with this multiplier, from an estimate pass."""
        found = problem.estimate(problem.plan(step_scale).tensors)
        coded = sum(coded_bytes({name: entry.estimate for name, entry in found.items()}).values())
        loss = sum(entry.loss for entry in found.values()) * problem.loss_share
        return Prediction(step_scale, round(coded + self.smallest().overhead_bytes), loss)

    def _predicted(self, file_bytes: int, progress: Progress) -> _Estimated:
        if file_bytes not in self._known:
            self.refuse_small_cap(file_bytes)
            problem = self.problem
            found = self._secant(problem, file_bytes, self._initial_step_scale(file_bytes), progress)
            if problem.calibration is not None:
                # More damping moves the multiplier a little; the damping itself follows so slowly that once is enough.
                problem = problem.with_adaptive_damping(found.step_scale)
            if self.start_adaptation is None or not problem.config.distill_steps:
                problem = problem.with_per_channel(found.step_scale)
            if problem is not self.problem:
                found = self._secant(problem, file_bytes, found.step_scale, progress)
            self._known[file_bytes] = _Estimated(found, problem)
        return self._known[file_bytes]

    def _secant(self, problem: FitProblem, file_bytes: int, start: float, progress: Progress) -> Prediction:
        """Search the multiplier on a logarithmic scale by secant steps, by bisection where those get nowhere."""
        low, high = math.log2(MIN_STEP_SCALE), math.log2(MAX_STEP_SCALE)
        before = found = self.estimate(problem, start)
        for step in range(MAX_SECANT_STEPS):
            progress.update(step, MAX_SECANT_STEPS, f"predicted {found.size_bytes:,} bytes")
            position, gap = math.log2(found.step_scale), found.size_bytes - file_bytes
            if abs(gap) <= max(SIZE_TOLERANCE * file_bytes, MIN_SLACK_BYTES) or high - low < 1e-3:
                break
            low, high = (position, high) if gap > 0 else (low, position)
            given = bytes_per_octave(found.size_bytes - self.smallest().overhead_bytes, problem.n_stepped)
            if before is not found:
                octaves = math.log2(before.step_scale / found.step_scale)
                measured = (found.size_bytes - before.size_bytes) / octaves
                given = min(max(measured, MIN_RESPONSE * given), MAX_RESPONSE * given)
            target = position + gap / given
            scale = 2.0 ** (target if low < target < high else (low + high) / 2)
            before, found = found, self.estimate(problem, scale)
        return found

    def _fit(self, file_bytes: int, estimated: _Estimated, progress: Progress, less: int = 0) -> FitResult:
        """The largest file found; `less` is how much lower it aims than the last attempt, whose files were all over."""
        problem, prediction = estimated.problem, estimated.prediction
        plan = problem.plan(prediction.step_scale)
        candidates = Candidates(file_bytes, self.pack, self.smallest().overhead_bytes)
        adapt = None if self.start_adaptation is None else self.start_adaptation(list(problem.weights))
        if adapt is None:
            candidates.accept(problem.round(plan.tensors, progress))
            order = sorted(problem.factors, key=lambda name: problem.weights[name].size)
            weights, step_scale = problem.weights, prediction.step_scale
        elif isinstance(adapt, Compensate):
            weights, order = round_compensated(problem, plan, candidates, adapt, progress)
            step_scale = prediction.step_scale
        else:
            weights, order, finer = round_sequentially(problem, plan, candidates, adapt, progress)
            step_scale = prediction.step_scale * 2.0**-finer
        moved = refine(problem, candidates, weights, order, step_scale, progress)
        if candidates.best is None:
            # Every file came out over the cap: so near to the smallest one that single tensors cannot close the gap.
            less = max(slack_bytes(file_bytes), 2 * less)
            self.refuse_small_cap(file_bytes, less)
            smaller = self._fit(file_bytes - less, self._predicted(file_bytes - less, progress), progress, less)
            return dataclasses.replace(smaller, predicted_bytes=prediction.size_bytes)
        data, rounded = candidates.best
        result = FitResult(
            plan=dataclasses.replace(plan, tensors=tuple(rounded[t.name].plan for t in plan.tensors)),
            model=QuantizedModel({name: entry.stored for name, entry in rounded.items()}),
            data=data,
            loss=_loss(problem, rounded, prediction, adapted=adapt is not None and not isinstance(adapt, Compensate)),
            losses={name: entry.loss for name, entry in rounded.items()},
            predicted_bytes=prediction.size_bytes,
            roundings=1 + moved / problem.n_stepped,
        )
        if adapt is None:
            return result
        plain = SizeSearch(self.problem, self.pack)._fit(file_bytes, estimated, progress)
        return result if nearer(adapt, result.model, plain.model, progress) else plain

    def _initial_step_scale(self, file_bytes: int) -> float:
        """A first multiplier: mean log2 of weight over relative step, at the bits that the size leaves for a weight."""
        problem = self.problem
        octaves, count = 0.0, max(problem.n_factored, 1)
        for tensor in problem.plan(1.0).tensors:
            if tensor.format == ROW_COLUMN:
                weight = problem.weights[tensor.name]
                spread = math.log2(float(np.sqrt(np.mean(weight.astype(np.float64) ** 2))) + 1e-30)
                steps = (sum(tensor.row_codes) / weight.shape[0] + sum(tensor.column_codes) / weight.shape[1]) / 4
                octaves += weight.size * (spread - math.log2(tensor.base) - steps)
        bits = 8 * max(file_bytes - self.smallest().overhead_bytes, 1) / count
        return float(min(max(2.0 ** (octaves / count + 1.05 - bits), MIN_STEP_SCALE), MAX_STEP_SCALE))


def _loss(
    problem: FitProblem, rounded: Mapping[str, RoundedTensor], prediction: Prediction, *, adapted: bool
) -> float | None:
    if problem.calibration is None:
        return None
    return prediction.loss if adapted else sum(entry.loss for entry in rounded.values()) * problem.loss_share


def _kept(plan: BitPlan, size_bytes: int) -> tuple[str, ...]:
    """Names of the tensors at 16 or 32 bits, the largest first, if they take more than half of the file."""
    bytes_by_name = {
        t.name: math.prod(t.shape) * _FLOAT_BYTES[t.format] for t in plan.tensors if t.format in _FLOAT_BYTES
    }
    if 2 * sum(bytes_by_name.values()) < size_bytes:
        return ()
    return tuple(sorted(bytes_by_name, key=lambda name: -bytes_by_name[name]))


def _lost(result: FitResult, weights: Mapping[str, Floats]) -> list[str]:
    """Names of the tensors that are all zero in the file and were not before."""
    return [
        tensor.name
        for tensor in result.plan.tensors
        if weights[tensor.name].any() and is_zero(result.model.tensors[tensor.name])
    ]
