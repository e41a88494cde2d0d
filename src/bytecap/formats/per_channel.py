"""Integers times one 16-bit scale for each row, behind a general compressor: the form of the published runs.

Letters: O rows (outputs, channels), I columns (inputs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bytecap.coding.planes import from_planes, is_wide, to_planes
from bytecap.formats.base import (
    MAX_SYMBOL,
    CodedSections,
    Parts,
    Plain,
    StoredFormat,
    StoredTensor,
    TensorEntry,
    count_levels,
    read_floats,
)
from bytecap.formats.steps import quarter_octave_powers

if TYPE_CHECKING:
    from bytecap.formats.plan import TensorPlan

PER_CHANNEL = "per_channel"
SMALLEST_SCALE, LARGEST_SCALE = 2.0**-18, 2.0**15
"""Bounds of a scale that float16 holds to one part in a hundred or better."""
SCALES = Plain("scales", 2)


@dataclass(frozen=True)
class PerChannelQuantized:
    """weight[o, i] = symbols[o, i] * scale[o]; of a kernel the first axis are the rows."""

    role: str
    symbols_OI: npt.NDArray[np.int16]
    scales_O: npt.NDArray[np.float16]

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I), or the axes of a kernel."""
        return self.symbols_OI.shape

    def weights(self) -> npt.NDArray[np.float32]:
        """The axes are those of `shape`; one product of two float32 numbers each, so the result is exact to the bit."""
        scales_O1 = self.scales_O.astype(np.float32).reshape(-1, *[1] * (self.symbols_OI.ndim - 1))
        weights: npt.NDArray[np.float32] = self.symbols_OI.astype(np.float32) * scales_O1
        return weights


class PerChannelFormat(StoredFormat[PerChannelQuantized]):
    """One scale for each row.

    Two axes or more: the first are the rows, the others together, row by row, the columns. The detail is the bits of an
    integer, 8 or 16. A weight is n_oi × s_o.

    Plain section `symbols.<role>`: the integers n, row by row. 8 bits: one signed byte each. 16 bits: n + 128 mod 2^16,
    all low bytes of the tensor, then all high bytes. Plain section `scales`: O finite float16.
    """

    name = PER_CHANNEL
    stored_class = PerChannelQuantized

    def detail(self, tensor: PerChannelQuantized) -> int:
        """Bits that hold every integer of the tensor."""
        return 16 if is_wide(tensor.symbols_OI) else 8

    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """A matrix or a kernel, of either width."""
        return len(shape) >= 2 and detail in (8, 16)

    def describe(self, tensor: PerChannelQuantized) -> str:
        """Levels."""
        return f"{count_levels(tensor.symbols_OI)} levels x row scale"

    def nearest(self, plan: TensorPlan, weight: npt.NDArray[np.float32]) -> StoredTensor:
        """Each number to the nearest multiple of its row's step, a base times a power of two by the row's code."""
        axes = [1] * (len(plan.shape) - 1)
        steps_O = plan.base * quarter_octave_powers(np.array(plan.row_codes, np.int8)).astype(np.float64)
        scales_O = np.clip(steps_O, SMALLEST_SCALE, LARGEST_SCALE).astype(np.float16)
        symbols_OI = np.rint(weight.reshape(plan.shape) / scales_O.astype(np.float32).reshape(-1, *axes))
        return PerChannelQuantized(plan.role, symbols_OI.clip(-MAX_SYMBOL, MAX_SYMBOL).astype(np.int16), scales_O)

    def plain_sizes(self, entry: TensorEntry) -> dict[Plain, int]:
        """Integers and scales."""
        return {symbols_section(entry.role): math.prod(entry.shape) * entry.detail // 8, SCALES: 2 * entry.shape[0]}

    def plain_parts(self, tensor: PerChannelQuantized) -> dict[Plain, bytes]:
        """Integers and scales."""
        symbols = to_planes(tensor.symbols_OI, wide=is_wide(tensor.symbols_OI))
        return {symbols_section(tensor.role): symbols, SCALES: tensor.scales_O.astype("<f2").tobytes()}

    def read(
        self, entries: Sequence[TensorEntry], parts: Sequence[Parts], coded: CodedSections
    ) -> list[PerChannelQuantized]:
        """Refuse scales that are not finite."""
        return [
            PerChannelQuantized(
                entry.role,
                from_planes(part[symbols_section(entry.role)], math.prod(entry.shape), wide=entry.detail == 16)
                .reshape(entry.shape),
                read_floats(entry, part[SCALES], "<f2"),
            )
            for entry, part in zip(entries, parts, strict=True)
        ]  # fmt: skip


def symbols_section(role: str) -> Plain:
    """The section of the integers of a role."""
    return Plain(f"symbols.{role}")


FORMATS = (PerChannelFormat(),)
