"""What a fit gives: a prediction before any rounding, a result with the file, and what makes them.

In / Out:  made by `size_search.py` and by the published schemes, read by whoever asked for the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bytecap.core.progress import Progress
from bytecap.formats.plan import BitPlan
from bytecap.formats.tensor import QuantizedModel


@dataclass(frozen=True)
class Prediction:
    """Size and loss that a fit would give, estimated without rounding with feedback."""

    step_scale: float
    size_bytes: int
    loss: float
    """Predicted increase of the loss in nats per token."""


@dataclass(frozen=True)
class FitResult:
    """A file under its cap and how it was made."""

    plan: BitPlan
    model: QuantizedModel
    data: bytes
    """The file."""
    loss: float | None
    """Predicted increase of the loss in nats per token, where something was measured; what it would be without
    distillation where tensors were adapted."""
    losses: dict[str, float]
    """The part of each tensor in it."""
    predicted_bytes: int
    """Size of the file as it was predicted before rounding."""
    roundings: float
    """Full passes over the weights."""
    own_bytes: int | None = None
    """Size of the file that a scheme makes with its own steps, where it was made."""


class Fitter(Protocol):
    """One checkpoint and one way to quantize it, for any number of sizes; keeps no state between them."""

    @property
    def scheme(self) -> str:
        """The name of the way."""

    def predict(self, file_bytes: int, progress: Progress) -> Prediction | None:
        """What this size would give, or None where only making the file tells; BudgetError where it cannot be met."""

    def fit(self, file_bytes: int | None, progress: Progress) -> FitResult:
        """The largest file of at most `file_bytes`, or of the scheme's own size for None."""
