"""The bit plan: what was decided for every tensor. Needs no torch.

In:   a decision of `quant/allocation.py` or of a published scheme.
Out:  the input of the rounding.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.formats.trellis import SCALAR


@dataclass(frozen=True, kw_only=True)
class ScaleRule:
    """How a published run finds the scale of a row: its clip divided by the largest integer."""

    levels: int
    """Largest integer R as published: 15, 31, 63 or 127; 32,767 where nothing is clipped."""
    lowest: int
    """Smallest integer as published, -R or -R - 1."""
    clip: str
    """`quantile` (of the absolute values), `absmax`, or `sigma` (standard deviations of the row)."""
    amount: float
    """The quantile, or the number of standard deviations; not used by `absmax`."""
    floor: float
    """Least clip; 1.0 in the runs of March 2026, which then cannot follow rows below 1."""
    feedback: bool
    """Rounding is GPTQ's when true, else to nearest."""
    step_scale: float = 1.0
    """Factor s of every step, clip / R × s, with which the integers of a row become s times fewer."""

    @property
    def integers(self) -> tuple[int, int]:
        """The smallest and the largest integer that are used: as published, or R / s on both sides."""
        if self.step_scale == 1.0:
            return self.lowest, self.levels
        largest = max(1, round(self.levels / self.step_scale))
        return -largest, largest


@dataclass(frozen=True, kw_only=True)
class TensorPlan:
    """How one tensor is stored."""

    name: str
    role: str
    shape: tuple[int, ...]
    format: str
    base: float = 0.0
    """The base of `row_column`, with the codes and the trellis below; the step of `per_tensor`."""
    row_codes: tuple[int, ...] = ()
    column_codes: tuple[int, ...] = ()
    states: int = SCALAR
    row_axes: int = 1
    """How many axes are together the rows of `row_column`."""
    group_size: int = 0
    """Columns that share a scale in `per_group`."""
    bits: int = 0
    """Bits of the integers of `per_group`."""
    step_scale: float = 1.0
    """Factor of the steps of `per_group`; integers become fewer by it."""
    rule: ScaleRule | None = None
    """How `per_channel` scales are found."""

    def codes(self) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
        """Row codes (O,) and column codes (I,)."""
        return np.array(self.row_codes, np.int8), np.array(self.column_codes, np.int8)

    def finer(self, octaves: float) -> TensorPlan:
        """The same plan with smaller steps."""
        return dataclasses.replace(self, base=float(np.float32(self.base * 2.0**-octaves)))


@dataclass(frozen=True, kw_only=True)
class BitPlan:
    """A decision for every tensor, in the model's order."""

    source_digest: str
    """Digest of the checkpoint."""
    scheme: str
    """`bytecap`, or the published policy."""
    step_scale: float
    """The multiplier κ of all steps; 1 are those of a published scheme."""
    tensors: tuple[TensorPlan, ...]
