"""Everything that a size search works on: weights, how sensitive the loss is to their errors, and the settings.

In:   a WeightSource, its calibration where there is one, a QuantConfig.
Out:  a FitProblem, which plans, estimates and rounds; it does not change.

Letters: O rows (outputs), I columns (inputs) of a weight.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import DataError
from bytecap.core.progress import Progress
from bytecap.fitting.data_free import data_free_steps, mean_square, relative_factors
from bytecap.fitting.passes import EstimatedTensor, RoundedTensor, estimate_pass, rounding_pass
from bytecap.fitting.per_channel_choice import choose_per_channel, per_channel_plan
from bytecap.fitting.source import WeightSource
from bytecap.formats.per_channel import PER_CHANNEL
from bytecap.formats.plan import BitPlan, TensorPlan
from bytecap.formats.row_column import ROW_COLUMN
from bytecap.formats.steps import make_steps
from bytecap.formats.trellis import SCALAR
from bytecap.model.roles import Role, refuse_unknown_roles
from bytecap.quant.allocation import STEP_MSE, PerTensorStep, QuantConfig, Shape, allocate, per_tensor_step
from bytecap.quant.factors import Factors, build_factors
from bytecap.quant.spill import keep, release
from bytecap.quant.statistics import Calibration

MAX_LEVEL = 20_000
"""Multiples of the step that the largest weight may be away from zero before feedback, of 65,534 that can be stored."""
NO_CURVATURE = 1e-9
"""A weight whose loss, were it zero, is less than this share of the largest such loss counts as never measured."""
MIN_SIDE = 4
"""Rows or columns below which the codes of the others would cost more than they give."""
MIN_SQUARED = 1e-15
"""A tensor whose largest weight is smaller, or larger than its inverse, is rounded as a vector or stored as floats."""
DAMPING_TOLERANCE = 1.2
"""Damping is adapted only where it must be so many times larger than the setting."""

ROWS_APART = {Role.MATRIX: False, Role.SCALAR: False, Role.EMBEDDING: True, Role.HEAD: True}
"""Roles whose rows have a damping of their own and take up no errors of each other."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FitProblem:
    """Weights with the factors of their curvature. What is derived for one size is a new problem."""

    source: WeightSource
    calibration: Calibration | None
    config: QuantConfig
    weights: Mapping[str, Floats]
    """The weights by name; those with factors as a matrix (O, I)."""
    factors: Mapping[str, Factors]
    """The factors of every weight with a step for each row and column."""
    measured: frozenset[str]
    """Names of those whose factors come from measured curvature; the others' are relative to their own weights."""
    per_tensor: Mapping[str, PerTensorStep]
    """The steps of every tensor with one step."""
    per_channel: frozenset[str] = frozenset()
    """Names of those with factors that are stored with one scale for each output (per_channel_choice.py)."""

    @property
    def unreached(self) -> list[str]:
        """Names of the weights with factors that a calibration says nothing about; none without a calibration."""
        return [] if self.calibration is None else [name for name in self.factors if name not in self.measured]

    @property
    def n_factored(self) -> int:
        """Number of weights with row and column steps."""
        return sum(self.weights[name].size for name in self.factors)

    @property
    def n_stepped(self) -> int:
        """Number of weights that have any step, at least 1."""
        return max(1, self.n_factored + sum(self.weights[name].size for name in self.per_tensor))

    @property
    def loss_share(self) -> float:
        """The share of a loss by damped factors that stands for itself, where damping is that of a thin calibration.

        A damping of δ times the mean curvature on both sides makes the mean loss of a weight (1 + δ)² times as large.
        """
        return 1.0 if self.calibration is None else (1 + self.calibration.min_damping) ** -2.0

    @property
    def rd_lambda(self) -> float | None:
        """The price of a bit; None where no curvature is known.

        The price makes weights smaller. Feedback makes up for that; without it the errors of all weights point the same
        way, and add up where those of rounding to nearest cancel out.
        """
        return None if self.calibration is None else self.config.rd_lambda

    def plan(self, step_scale: float) -> BitPlan:
        """The bit plan for one multiplier of all steps."""
        plan = allocate(self.source.shapes, self.factors, step_scale, self.config, self.source.digest, self.per_tensor)
        tensors = (
            tensor if tensor.name not in self.per_channel
            else per_channel_plan(tensor, self.factors[tensor.name], step_scale)
            for tensor in plan.tensors
        )  # fmt: skip
        plan = dataclasses.replace(plan, tensors=tuple(self.representable(tensor) for tensor in tensors))
        for factors in self.factors.values():
            release(factors)
        return plan

    def representable(self, plan: TensorPlan) -> TensorPlan:
        """The same plan, or the finest whose 16-bit integers still reach the largest weight of the tensor."""
        if plan.format == PER_CHANNEL:
            largest_C = np.abs(self.weights[plan.name]).reshape(len(plan.row_codes), -1).max(axis=1)
            finest = float((largest_C / 2.0 ** (np.array(plan.row_codes) / 4)).max()) / MAX_LEVEL
            return dataclasses.replace(plan, base=float(np.float32(max(plan.base, finest))))
        if plan.format != ROW_COLUMN:
            return plan
        weight, most = np.abs(self.weights[plan.name]), MAX_LEVEL if plan.states != SCALAR else MAX_LEVEL / 2
        codes = plan.codes()
        if float(weight.max()) <= most * plan.base * 2.0 ** ((int(codes[0].min()) + int(codes[1].min())) / 4):
            return plan
        finest = float((weight / make_steps(1.0, *codes)).max()) / most
        return dataclasses.replace(plan, base=float(np.float32(max(plan.base, finest))))

    def estimate(
        self, plans: Sequence[TensorPlan], weights: Mapping[str, Floats] | None = None
    ) -> dict[str, EstimatedTensor]:
        """Size and loss of each tensor, from rounding without feedback; of `weights` where they have changed."""
        return estimate_pass(plans, weights or self.weights, self.factors, self.rd_lambda)

    def round(
        self, plans: Iterable[TensorPlan], progress: Progress, weights: Mapping[str, Floats] | None = None
    ) -> dict[str, RoundedTensor]:
        """Each tensor rounded with feedback; of `weights` where they have changed."""
        return rounding_pass(plans, weights or self.weights, self.factors, self.rd_lambda, progress)

    def with_adaptive_damping(self, step_scale: float) -> FitProblem:
        """More damping for weights that matter so little that steps this coarse would let their errors outgrow them.

        In a direction without curvature feedback leaves errors of about κ² c / (δ² ā ḡ), with κ the step scale, δ the
        damping, ā and ḡ the mean curvatures and c = 0.28 for a trellis: not more than the mean square σ² of the
        weights if δ = sqrt(c κ² / (σ² ā ḡ)). Never less than `quant.damping` (docs/fit.md, section 2).
        """
        if self.calibration is None:
            return self
        shapes = {entry.name: entry for entry in self.source.shapes}
        changed = {}
        for name in self.factors:  # in their order, not in that of a set
            if name not in self.measured:
                continue
            curvature = max(_mean_curvature(self.calibration, name) * mean_square(self.weights[name]), 1e-60)
            needed = min(step_scale * math.sqrt(STEP_MSE / curvature), 1.0)
            if needed > DAMPING_TOLERANCE * self.config.damping:
                changed[name] = _measured_factors(shapes[name], self.calibration, self.config, needed)
        return dataclasses.replace(self, factors={**self.factors, **changed})

    def with_per_channel(self, step_scale: float) -> FitProblem:
        """The same problem with one scale for each output where a general compressor stores that in fewer bytes."""
        plans = self.plan(step_scale).tensors
        chosen = choose_per_channel(plans, self.weights, self.factors, step_scale, self.estimate)
        return dataclasses.replace(self, per_channel=chosen) if chosen else self

    def with_curvature(self, factors: Mapping[str, float]) -> FitProblem:
        """The same problem with the curvature of each named tensor so many times as large."""
        assert self.calibration is not None, "nothing was measured"
        scaled = self.calibration.scaled(factors)
        return build_problem(self.source, scaled, self.config, self.measured)

    def with_relative_steps(self, names: Collection[str]) -> FitProblem:
        """The same problem with steps of `names` relative to the scale of their own weights, as if never measured."""
        measured = self.measured.difference(names)
        known = {name: factors for name, factors in self.factors.items() if name in measured}
        relative = relative_factors(self.source.shapes, self.weights, known, names)
        factors = {name: relative.get(name, factors) for name, factors in self.factors.items()}
        return dataclasses.replace(self, factors=factors, measured=measured, per_channel=frozenset())


def build_problem(
    source: WeightSource, calibration: Calibration | None, config: QuantConfig, reached: Collection[str] | None = None
) -> FitProblem:
    """Factors of every matrix, and one step for what is none where the calibration has its sensitivity.

    `reached` names the weights whose curvature was really shown; None if the curvature itself is to tell.
    """
    refuse_unknown_roles({entry.name: entry.role for entry in source.shapes}, ROWS_APART, "fitting/problem.py")
    if calibration is not None:
        calibration = calibration.stored_once(source.aliases)
        config = config.damped_at_least(calibration.min_damping)
        source = dataclasses.replace(source, shapes=[_as_measured(entry, calibration) for entry in source.shapes])
    matrices = [entry for entry in source.shapes if _is_matrix(entry, source.weights[entry.name])]
    measured = {}
    if calibration is not None:
        _refuse_other_shapes(calibration, matrices)
        shown = _reached(source, calibration, matrices, reached)
        shown = [entry for entry in shown if not _is_gathered_scalar(entry, calibration)]
        measured = {e.name: _measured_factors(e, calibration, config, config.damping) for e in shown}
    per_tensor = _per_tensor_steps(source, calibration, measured)
    unmeasured = [
        entry.name for entry in matrices
        if entry.name not in measured and entry.name not in per_tensor and entry.role != Role.SCALAR
    ]  # fmt: skip
    known = {*measured, *unmeasured}
    views = {entry.name: entry.matrix for entry in matrices if entry.name in known}
    weights = {name: weight.reshape(views.get(name, weight.shape)) for name, weight in source.weights.items()}
    relative = relative_factors(source.shapes, weights, measured, unmeasured)
    factors = {entry.name: (measured | relative)[entry.name] for entry in matrices if entry.name in known}
    if calibration is None:
        others = [e.name for e in source.shapes if e.name not in known and not e.exact]
        per_tensor = data_free_steps({name: weights[name] for name in others})
    return FitProblem(source, calibration, config, weights, factors, frozenset(measured), per_tensor)


def _refuse_other_shapes(calibration: Calibration, matrices: Sequence[Shape]) -> None:
    """Raise DataError where a calibration speaks of weights of another shape."""
    for entry in matrices:
        curvature = calibration.tensors.get(entry.name)
        found = None if curvature is None else (len(curvature.outputs), len(curvature.inputs_II))
        if found is not None and found != entry.matrix:
            raise DataError(
                f"the calibration has curvature of shape {found} for {entry.name}, which is {tuple(entry.shape)}; "
                "delete calibration.safetensors to measure again",
                tensor=entry.name,
            )


def _is_matrix(entry: Shape, weight: Floats) -> bool:
    """Tell what gets steps for rows and columns: both of them, and numbers whose squares 32 bits hold."""
    if len(entry.shape) < 2 or entry.exact or (min(entry.matrix) < MIN_SIDE and len(entry.shape) > 2):
        return False
    largest = float(np.abs(weight).max())
    return largest == 0 or MIN_SQUARED <= largest <= 1 / MIN_SQUARED


def _is_gathered_scalar(entry: Shape, calibration: Calibration) -> bool:
    """Tell a parameter that no linear map uses and whose role says that it is no matrix: it has one step."""
    return entry.role == Role.SCALAR and calibration.tensors[entry.name].inputs_II.ndim == 1


def _as_measured(entry: Shape, calibration: Calibration) -> Shape:
    """The shape with the rows and columns that its curvature speaks of."""
    found = calibration.tensors.get(entry.name)
    return entry if found is None else entry.viewed_as((len(found.outputs), len(found.inputs_II)))


def _measured_factors(entry: Shape, calibration: Calibration, config: QuantConfig, damping: float) -> Factors:
    """Factors from measured curvature; the role says whether rows stand alone."""
    apart = ROWS_APART[Role(entry.role)]
    row_damping, two_sided = config.embedding_damping if apart else None, config.two_sided and not apart
    curvature = calibration.tensors[entry.name]
    found = build_factors(entry.name, curvature, damping=damping, row_damping=row_damping, two_sided=two_sided)
    release(curvature)
    return keep(found)


def _reached(
    source: WeightSource, calibration: Calibration, matrices: Sequence[Shape], known: Collection[str] | None
) -> list[Shape]:
    """The matrices whose curvature the calibration text has really shown; of `known` names where those are given."""
    if known is not None:
        return [entry for entry in matrices if entry.name in known]
    stakes = {
        e.name: _mean_curvature(calibration, e.name) * float(np.square(source.weights[e.name], dtype=np.float64).sum())
        for e in matrices
        if e.name in calibration.tensors
    }
    least = NO_CURVATURE * max(stakes.values(), default=0.0)
    zero = {name for name in stakes if not source.weights[name].any()}  # they have a curvature all the same
    return [e for e in matrices if e.name in stakes and (stakes[e.name] > least or e.name in zero)]


def _per_tensor_steps(
    source: WeightSource, calibration: Calibration | None, measured: Collection[str]
) -> dict[str, PerTensorStep]:
    """One step for each tensor that is no matrix, where the calibration has its sensitivity."""
    steps = {}
    for name, fisher in ({} if calibration is None else calibration.vectors).items():
        if name in measured:
            continue
        weight = source.weights.get(name)
        step = None if weight is None else per_tensor_step(fisher, math.sqrt(mean_square(weight)))
        if step is not None:
            steps[name] = step
    return steps


def _mean_curvature(calibration: Calibration, name: str) -> float:
    """The product ā ḡ of the mean curvatures of inputs and outputs."""
    entry = calibration.tensors[name]
    mean = float(entry.inputs_diagonal_I.mean()) * float(entry.outputs_diagonal_O.mean())
    release(entry)
    return mean
