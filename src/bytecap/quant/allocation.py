"""Which step every weight gets, from one multiplier for the whole model. Needs no torch.

In:   shapes, the factors of each weight's curvature, the multiplier κ.
Out:  a BitPlan with step κ · V_ii · U_jj for the weight in row i and column j.

Behind feedback the loss is Σ e_ij² / (2 V_ii² U_jj²), and behind an entropy coder a weight costs log2(σ / Δ) + constant
bits: equal slope everywhere means Δ_ij ∝ V_ii U_jj. Then every weight of the model carries the same predicted loss,
and κ alone sets the size (docs/fit.md).

Source:  columns: WaterSIC, arXiv 2603.04956; both sides: the metric of YAQA, arXiv 2505.22988.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds, check_bounds, history
from bytecap.formats.floats import FLOAT32, SCALED_FLOAT16
from bytecap.formats.per_tensor import PER_TENSOR
from bytecap.formats.plan import BitPlan, TensorPlan
from bytecap.formats.row_column import ROW_COLUMN
from bytecap.formats.steps import nearest_codes
from bytecap.formats.trellis import CODES, SCALAR
from bytecap.quant.factors import Factors

SCHEME = "bytecap"
AUTOMATIC = 0
MIN_STATES, MAX_STATES, MAX_STEPS = 8, 256, 2_500_000_000
"""Bounds of the automatic choice, and how many weights times states are looked at; minutes on two cores."""
MODEL, DATA = "model", "data"
"""Where the labels of a calibration come from."""
STEP_MSE = 0.28
"""Mean square error of a trellis of 8 states, in squared steps."""
MAX_RD_LAMBDA = 10
"""Squared steps that a bit may cost; at far less nothing but zeros is left."""
MIN_CALIBRATION_TOKENS = 256
"""Fewer positions say next to nothing about curvature."""
WIDE = 64
"""Length from which the last axis of three is a row of one of several matrices, and no width of a kernel."""
KERNEL = "kernel"
"""What a kernel is called where outputs are its last axis."""
_COUNT, _DAMPING = bounds(0, 1 << 40), bounds(1e-12, 100)


@dataclass(frozen=True, kw_only=True)
class QuantConfig:
    """How curvature is measured and used."""

    calibration_tokens: int = field(default=65_536, metadata=_COUNT)
    """Tokens of training text on which curvature is measured; 0 for a plan from the weights alone."""
    labels: str = MODEL
    """Whose labels curvature is measured with: `model`, drawn from its predictions (the true Fisher information), or
    `data`, those of the text (the empirical one)."""
    damping: float = field(default=0.01, metadata=_DAMPING)
    """Added to curvatures, as a share of their mean diagonal."""
    embedding_damping: float = field(default=0.001, metadata=_DAMPING)
    """Damping of the embedding's rows, most of which are rare tokens."""
    two_sided: bool = True
    """Rows take up each other's errors too; the embedding's never do."""
    states: int = 0
    """States of the trellis: 4, 8, 16, 32, 64, 128, 256; 1 for none; 0 for as many as the size of the model leaves time
    for: 256 up to 9 million weights, 64 at 36 million, never less than 8."""
    rd_lambda: float = field(default=0.1, metadata=history(renamed=("rate",)) | bounds(0, MAX_RD_LAMBDA))
    """Price λ of a bit in the search for a path through the trellis, in squared steps."""
    compensation_tokens: int = field(default=0, metadata=_COUNT)
    """Tokens of text on which linear maps learn, by least squares, to make up for what was rounded before them; 0 for
    none."""
    distill_steps: int = field(default=0, metadata=_COUNT)
    """Batches of training behind each rounded weight, in which those still open learn to make up for it; 0 for none."""

    def __post_init__(self) -> None:
        """Raise ConfigError for values out of bounds."""
        for name in ("states", "calibration_tokens", "compensation_tokens", "distill_steps"):
            if not isinstance(getattr(self, name), int):
                raise ConfigError(f"quant.{name} is {getattr(self, name)!r}; it must be a whole number")
        check_bounds(self)
        if self.states not in (AUTOMATIC, SCALAR, *CODES):
            known = ", ".join(map(str, (AUTOMATIC, SCALAR, *CODES)))
            raise ConfigError(f"quant.states is {self.states}; choose one of {known}")
        if self.labels not in (MODEL, DATA):
            raise ConfigError(f"quant.labels is {self.labels!r}; choose {MODEL} or {DATA}")
        if 0 < self.calibration_tokens < MIN_CALIBRATION_TOKENS:
            raise ConfigError(
                f"quant.calibration_tokens is {self.calibration_tokens}; fewer than {MIN_CALIBRATION_TOKENS} say "
                "next to nothing about curvature: give more, or 0 for none"
            )

    @property
    def adapts(self) -> bool:
        """Return whether weights change while the others are rounded."""
        return self.distill_steps > 0 or self.compensation_tokens > 0

    def damped_at_least(self, damping: float) -> QuantConfig:
        """The same with this damping, or with its own where that is larger."""
        rows = max(self.embedding_damping, damping)
        return dataclasses.replace(self, damping=max(self.damping, damping), embedding_damping=rows)

    def states_for(self, weights: int) -> int:
        """States of the trellis in a model of so many weights; twice as many save 0.01 bit for up to twice the time."""
        if self.states != AUTOMATIC:
            return self.states
        fitting = [s for s in CODES if MIN_STATES <= s <= MAX_STATES and s * weights <= MAX_STEPS]
        return max(fitting, default=MIN_STATES)


@dataclass(frozen=True)
class Shape:
    """A tensor as the plan sees it."""

    name: str
    role: str
    shape: tuple[int, ...]
    exact: bool = False
    """True where its numbers are stored exactly."""

    rows_first: int = 0
    """How many leading axes are joined to the rows of a matrix; 0 for as many as make it most nearly square."""

    @property
    def row_axes(self) -> int:
        """How many leading axes are joined to the rows."""
        places = range(1, len(self.shape))
        return self.rows_first or max(places, key=lambda place: min(_split(self.shape, place)), default=1)

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns of the tensor as a matrix."""
        return _split(self.shape, self.row_axes)

    def viewed_as(self, matrix: tuple[int, int]) -> Shape:
        """The same tensor with so many rows and columns, or as it is where no axes give them."""
        found = (place for place in range(1, len(self.shape)) if _split(self.shape, place) == matrix)
        return dataclasses.replace(self, rows_first=next(found, 0))

    @property
    def packed(self) -> bool:
        """Tell matrices of one shape in one tensor, such as experts or directions, from a kernel of three axes."""
        return len(self.shape) == 3 and self.shape[1] > 1 and self.shape[2] >= WIDE

    @property
    def outputs_last(self) -> bool:
        """Tell a kernel kept as (places, inputs, outputs), as Keras and Flax do: by its axes, or some and its name."""
        if len(self.shape) < 3 or self.packed or self.row_axes != len(self.shape) - 1:
            return False
        widest, (inputs, outputs) = max(self.shape[:-2]), self.shape[-2:]
        return widest < min(inputs, outputs) or (KERNEL in self.name.lower() and widest < outputs)

    @property
    def places(self) -> tuple[int, ...]:
        """The axes of a kernel over places, as far as they are columns of a matrix whose rows are outputs."""
        return () if self.packed or self.outputs_last else self.shape[max(2, self.row_axes) :]


def _split(shape: tuple[int, ...], place: int) -> tuple[int, int]:
    return math.prod(shape[:place]), math.prod(shape[place:])


@dataclass(frozen=True)
class PerTensorStep:
    """The step of a tensor whose elements are all rounded alike."""

    step: float
    """The step at κ = 1."""
    coarsest: float
    finest: float = 0.0

    def at(self, step_scale: float) -> float:
        """The step for one multiplier."""
        return float(np.float32(min(max(step_scale * self.step, self.finest), self.coarsest)))


def per_tensor_step(fisher: float, root_mean_square: float) -> PerTensorStep | None:
    """The step at which an element carries as much loss as a weight on a trellis, at most an eighth of its size.

    `fisher` is the mean of the elements' Fisher information; None where it or the values are zero. A uniform step Δ has
    mean square error Δ²/12.
    """
    if not (0 < fisher < math.inf and 0 < root_mean_square < math.inf):
        return None
    return PerTensorStep(math.sqrt(12 * STEP_MSE / fisher), root_mean_square / 8)


def allocate(
    shapes: list[Shape],
    factors: Mapping[str, Factors],
    step_scale: float,
    config: QuantConfig,
    source_digest: str,
    vectors: Mapping[str, PerTensorStep] | None = None,
) -> BitPlan:
    """The plan for one multiplier; what has neither factors nor a step of its own is stored at 16 bits, or exactly."""
    tensors = []
    states = config.states_for(sum(math.prod(entry.shape) for entry in shapes))
    for entry in shapes:
        plan = TensorPlan(name=entry.name, role=entry.role, shape=entry.shape, format=SCALED_FLOAT16)
        if entry.name in factors:
            row_scale, row_codes = nearest_codes(factors[entry.name].row_factors_O)
            column_scale, column_codes = nearest_codes(factors[entry.name].column_factors_I)
            plan = dataclasses.replace(
                plan, format=ROW_COLUMN, base=float(np.float32(step_scale * row_scale * column_scale)), states=states,
                row_axes=entry.row_axes, row_codes=tuple(row_codes.tolist()), column_codes=tuple(column_codes.tolist()),
            )  # fmt: skip
        elif vectors and entry.name in vectors:
            plan = dataclasses.replace(plan, format=PER_TENSOR, base=vectors[entry.name].at(step_scale))
        elif entry.exact:
            plan = dataclasses.replace(plan, format=FLOAT32)
        tensors.append(plan)
    return BitPlan(source_digest=source_digest, scheme=SCHEME, step_scale=step_scale, tensors=tuple(tensors))
