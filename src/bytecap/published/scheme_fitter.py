"""A published scheme carried out: its plan, its rounding, and under a cap the largest file.

In:   weights, a calibration where the scheme needs one, and a function that packs a QuantizedModel and gives its bytes.
Out:  the plan, the quantized model and the file.

The step scale multiplies all steps; at 1 a scheme is as published. It is found by bisection on real packed files, with
a guess inside the bracket from one bit per weight and octave. A clip in deviations with few levels clips when its steps
are small, so it is not refined further than to `MIN_DEVIATIONS`: the bytes that are left then stay unused. So do those
of a cap within the jump in size where the integers of a tensor no longer fit 8 bits and take a second plane of bytes.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from bytecap.core.budget import REFUSE, SHRINK, refuse_small_cap, slack_bytes
from bytecap.core.errors import BudgetError, ConfigError
from bytecap.core.progress import Progress
from bytecap.core.units import counted
from bytecap.fitting.job import Container, FitJob
from bytecap.fitting.report import Comparison
from bytecap.fitting.result import FitResult
from bytecap.fitting.size_search import Pack
from bytecap.fitting.source import WeightSource
from bytecap.formats.base import MAX_SYMBOL, StoredTensor
from bytecap.formats.floats import FLOAT16, FLOAT32
from bytecap.formats.low_rank_corrected import LowRankCorrected
from bytecap.formats.per_channel import PerChannelQuantized
from bytecap.formats.per_group import MAX_GROUP_SYMBOL
from bytecap.formats.plan import BitPlan, ScaleRule, TensorPlan
from bytecap.formats.table import FORMATS, format_of
from bytecap.formats.tensor import QuantizedModel
from bytecap.published.low_rank import low_rank_corrections
from bytecap.published.rounding import SIGMA, round_published
from bytecap.published.scheme_plan import SchemeOptions, find_scheme, scheme_plan
from bytecap.quant.statistics import Calibration

MIN_DEVIATIONS = 4.0
MIN_STEP_SCALE, MAX_STEP_SCALE = 2.0**-9, 2.0**6
"""Bounds of the step scale; at the upper one every weight is zero where steps are in deviations."""
CLOSEST = 2.0**-12
"""Octaves of the step scale below which sizes are not distinguished."""
ZERO_STEPS = 2.05
"""Times its largest integer, the step scale at which a range has no integer but zero, the scale's rounding included."""
_SCALED = 1.0 + 1e-9
"""A step scale next to 1 under which nothing is as published."""
MAX_TRIES, MAX_UNBRACKETED = 24, 4
"""Files made at most, and until both sides of the cap have been seen."""

Floats = npt.NDArray[np.float32]


def build_scheme_job(
    source: WeightSource,
    calibration: Calibration | None,
    options: SchemeOptions,
    container: Container,
    comparison: Comparison | None = None,
) -> FitJob:
    """The job of fitting by a published scheme; ConfigError where it would quantize nothing."""
    fitter = SchemeFitter(source, calibration, options, container.packer(source))
    return FitJob(source, calibration, fitter, comparison)


class SchemeFitter:
    """One checkpoint under one published scheme, any number of sizes; a Fitter."""

    def __init__(
        self, source: WeightSource, calibration: Calibration | None, options: SchemeOptions, pack: Pack
    ) -> None:
        if calibration is not None:
            calibration = dataclasses.replace(calibration, training_squares=source.training_squares)
        self._source, self._calibration, self._options, self._pack = source, calibration, options, pack
        self._policy = find_scheme(options.name)
        quantized = [t for t in self._plan(1.0).tensors if t.format not in (FLOAT16, FLOAT32)]
        if not quantized:
            raise ConfigError(
                f"scheme {options.name} would quantize nothing: no matrix of this checkpoint has more than "
                f"{options.keep_small:,} elements; give --keep-small 0, in a recipe artifact.keep_small = 0"
            )
        self._count = sum(math.prod(tensor.shape) for tensor in quantized)
        self._weights = sum(math.prod(tensor.shape) for tensor in source.shapes)
        self._kept = [t for t in source.shapes if t.role != "scalar" and math.prod(t.shape) <= options.keep_small]
        bounds = [_bounds(tensor) for tensor in self._plan(_SCALED).tensors]
        finest, coarsest = max(low for low, _ in bounds), max(high for _, high in bounds)
        self._ends = math.log2(min(finest, 1.0)), math.log2(coarsest)
        self._as_published = self._policy.own_size and options.over_cap is not None
        self._own: FitResult | None = None
        self._smallest: int | None = None

    @property
    def scheme(self) -> str:
        """The name of the scheme."""
        return self._options.name

    def predict(self, file_bytes: int, progress: Progress) -> None:
        """Nothing but a refusal: BudgetError when no file of this scheme is as small as that."""
        if self._as_published:
            own_bytes = len(self._own_size().data)
            if own_bytes <= file_bytes:
                return
            if self._options.over_cap == REFUSE:
                raise BudgetError(
                    f"scheme {self.scheme} as published takes {own_bytes:,} bytes, {own_bytes - file_bytes:,} over the "
                    f"cap of {file_bytes:,}; raise the cap, or let its steps grow with artifact.over_cap = {SHRINK!r}",
                    smallest_bytes=own_bytes,
                    cap_bytes=file_bytes,
                )
        if self._smallest is None:
            self._smallest = len(self._made(2.0 ** self._ends[1])[1])
        refuse_small_cap(self._smallest, file_bytes)

    def fit(self, file_bytes: int | None, progress: Progress) -> FitResult:
        """The largest file found of at most `file_bytes`, or of the scheme's own size; BudgetError where none is."""
        self._note_kept(progress)
        if file_bytes is None:
            return self._own_size()
        self.predict(file_bytes, progress)
        if not self._as_published:
            return self._search(file_bytes, progress)
        own = self._own_size()
        if len(own.data) <= file_bytes:
            return own
        found = dataclasses.replace(self._search(file_bytes, progress), own_bytes=len(own.data))
        progress.note(
            f"scheme {self.scheme} as published takes {len(own.data):,} bytes, {len(own.data) - file_bytes:,} over the "
            f"cap of {file_bytes:,}; its steps are multiplied by {found.plan.step_scale:.4f} to fit"
        )
        return found

    def _note_kept(self, progress: Progress) -> None:
        """Say once which matrices are not rounded for being small, as the sizes of small models hang on it."""
        if self._kept:
            share = sum(math.prod(entry.shape) for entry in self._kept) / self._weights
            progress.note(
                f"{counted(len(self._kept), 'matrix', 'matrices')} of at most {self._options.keep_small:,} weights, "
                f"{share:.0%} of all, stay{'s' if len(self._kept) == 1 else ''} at 16 bits as "
                "published; --keep-small 0 (in a recipe artifact.keep_small = 0) rounds all"
            )
        self._kept = []

    def _own_size(self) -> FitResult:
        if not self._policy.own_size:
            raise ConfigError(f"scheme {self.scheme} has no size of its own; give --cap, such as --cap 16MB")
        if self._own is None:
            made = self._described(1.0, *self._made(1.0), 1)
            self._own = dataclasses.replace(made, own_bytes=len(made.data))
        return self._own

    def _search(self, cap_bytes: int, progress: Progress) -> FitResult:
        """Bisect the step scale on real files."""
        best: tuple[float, QuantizedModel, bytes] | None = None
        slack = slack_bytes(cap_bytes)
        position = 0.0
        low: float | None = None
        high: float | None = None
        """Octaves of the step scale: the coarsest that was over the cap, the finest that was not."""
        for tries in range(1, MAX_TRIES + 1):
            model, data = self._made(2.0**position)
            progress.update(tries, MAX_TRIES, f"{len(data):,} bytes with a step scale of {2.0**position:.4f}")
            gap = cap_bytes - len(data)
            if gap < 0:
                low = position
            else:
                high = position
                best = (position, model, data) if best is None or len(data) > len(best[2]) else best
            if 0 <= gap <= slack or high == self._ends[0]:
                break
            if low is not None and high is not None and high - low < CLOSEST:
                break
            guess = position - 8 * (gap - slack / 2) / self._count
            position = _next(guess, low, high, self._ends, tries)
        if best is None:
            raise BudgetError(f"scheme {self.scheme} found no file of at most {cap_bytes:,} bytes", cap_bytes=cap_bytes)
        return self._described(2.0 ** best[0], best[1], best[2], tries)

    def _plan(self, step_scale: float) -> BitPlan:
        return scheme_plan(self._options, self._source.shapes, self._calibration, self._source.digest, step_scale)

    def _made(self, step_scale: float) -> tuple[QuantizedModel, bytes]:
        """The model rounded with this step scale, and its file."""
        plans, weights = self._plan(step_scale).tensors, self._source.weights
        tensors: dict[str, StoredTensor] = {
            plan.name: FORMATS[plan.format].nearest(plan, weights[plan.name]) for plan in plans if plan.rule is None
        }
        ruled = {plan.name: self._rounded(plan, plan.rule) for plan in plans if plan.rule is not None}
        tensors |= ruled
        if self._policy.low_rank:
            lost = {name: weights[name] - tensor.weights() for name, tensor in ruled.items()}
            tensors |= {name: LowRankCorrected(ruled[name], r) for name, r in low_rank_corrections(lost).items()}
        model = QuantizedModel({plan.name: tensors[plan.name] for plan in plans})
        return model, self._pack(model)

    def _rounded(self, plan: TensorPlan, rule: ScaleRule) -> PerChannelQuantized:
        """A tensor as the rule of the scheme has it."""
        curvature = None if self._calibration is None else self._calibration.tensors.get(plan.name)
        rows = round_published(self._source.weights[plan.name], rule, curvature, name=plan.name)
        return PerChannelQuantized(plan.role, rows.symbols_OI, rows.scales_O)

    def _described(self, step_scale: float, model: QuantizedModel, data: bytes, tries: int) -> FitResult:
        plan = self._plan(step_scale)
        tensors = tuple(dataclasses.replace(t, format=format_of(model.tensors[t.name]).name) for t in plan.tensors)
        losses = self._losses(model)
        loss = None if self._calibration is None else sum(losses.values())
        return FitResult(dataclasses.replace(plan, tensors=tensors), model, data, loss, losses, len(data), float(tries))

    def _losses(self, model: QuantizedModel) -> dict[str, float]:
        """The predicted loss ½ tr(G E A Eᵀ) of each measured tensor."""
        found = {}
        for name, curvature in ({} if self._calibration is None else self._calibration.tensors).items():
            if self._source.weights[name].ndim != 2:
                continue
            error_OI = self._source.weights[name] - model.tensors[name].weights()
            pushed_OI = error_OI @ curvature.inputs_II
            outputs = curvature.outputs
            pushed_OI = outputs @ pushed_OI if outputs.ndim == 2 else outputs[:, None] * pushed_OI
            found[name] = 0.5 * float((pushed_OI.astype(np.float64) * error_OI).sum())
        return found


def _bounds(plan: TensorPlan) -> tuple[float, float]:
    """The least step scale of a tensor, whose integers must fit, and the one at which every weight is zero."""
    if plan.bits:
        largest = 2 ** (plan.bits - 1) - 1
        return max(MIN_STEP_SCALE, largest / MAX_GROUP_SYMBOL), ZERO_STEPS * largest
    if plan.rule is None:
        return MIN_STEP_SCALE, 1.0
    if plan.rule.clip == SIGMA:
        return max(MIN_STEP_SCALE, MIN_DEVIATIONS / plan.rule.amount), MAX_STEP_SCALE
    return max(MIN_STEP_SCALE, plan.rule.levels / MAX_SYMBOL), ZERO_STEPS * plan.rule.levels


def needs_text(name: str) -> bool:
    """Return whether a scheme needs a calibration; ConfigError when there is no such scheme."""
    return find_scheme(name).calibrated


def _next(guess: float, low: float | None, high: float | None, ends: tuple[float, float], tries: int) -> float:
    """The next point: the guess, the middle where it lies outside, an end when one side stays open for long."""
    finest, coarsest = ends
    if low is None:
        return finest if tries > MAX_UNBRACKETED else max(guess, finest)
    if high is None:
        return coarsest if tries > MAX_UNBRACKETED else min(guess, coarsest)
    return guess if low < guess < high and tries <= MAX_TRIES // 2 else (low + high) / 2
