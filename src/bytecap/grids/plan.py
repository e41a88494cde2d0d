"""The bit plan: what was decided for every tensor. Needs no torch.

In:   a decision of `quant/allocation.py`.
Out:  `plan.json`, and the input of the rounding.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from bytecap.core.errors import DataError

ROW_STEPS = "row_steps"
"""Integers times one step for each row."""
FLOAT16 = "float16"
"""Stored as it is, at 16 bits."""


@dataclass(frozen=True, kw_only=True)
class TensorPlan:
    """How one tensor is stored."""

    name: str
    role: str
    shape: tuple[int, ...]
    grid: str
    row_codes: tuple[int, ...] = ()
    """Step code of each row (see grids/grid.py), for `row_steps`."""


@dataclass(frozen=True, kw_only=True)
class BitPlan:
    """A decision for every tensor, in the model's order."""

    made_from: str
    """Digest of the checkpoint."""
    dial: float
    """Step of matrices in standard deviations of their row."""
    tensors: tuple[TensorPlan, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return dataclasses.asdict(self)


def plan_from_json(value: dict[str, Any]) -> BitPlan:
    """Back from `to_json`; DataError when it is not a plan."""
    try:
        tensors = tuple(
            TensorPlan(**{**t, "shape": tuple(t["shape"]), "row_codes": tuple(t["row_codes"])})
            for t in value["tensors"]
        )
        return BitPlan(made_from=value["made_from"], dial=float(value["dial"]), tensors=tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"this is not a bit plan ({error}); run `bytecap fit` again") from None
