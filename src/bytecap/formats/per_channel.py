"""Integers times one 16-bit scale for each row, behind a general compressor: the form of the published runs.

Letters: O rows (outputs, channels), I columns (inputs).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.coding.planes import from_planes, is_wide, to_planes
from bytecap.formats.base import (
    CodedSections,
    Parts,
    Plain,
    StoredFormat,
    TensorEntry,
    count_levels,
    read_floats,
)

PER_CHANNEL = "per_channel"
SCALES = Plain("scales", 2)


@dataclass(frozen=True)
class PerChannelQuantized:
    """weight[o, i] = symbols[o, i] * scale[o]."""

    role: str
    symbols_OI: npt.NDArray[np.int16]
    scales_O: npt.NDArray[np.float16]

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I)."""
        return self.symbols_OI.shape

    def weights(self) -> npt.NDArray[np.float32]:
        """(O, I)."""
        scales_O1: npt.NDArray[np.float32] = self.scales_O.astype(np.float32)[:, None]
        return self.symbols_OI.astype(np.float32) * scales_O1


class PerChannelFormat(StoredFormat[PerChannelQuantized]):
    """One scale for each row.

    Two axes; the detail is the bits of an integer, 8 or 16. A weight is n_oi × s_o.

    Plain section `symbols.<role>`: the integers n, row by row. 8 bits: one signed byte each. 16 bits: n + 128 mod 2^16,
    all low bytes of the tensor, then all high bytes. Plain section `scales`: O finite float16.
    """

    name = PER_CHANNEL
    stored_class = PerChannelQuantized

    def detail(self, tensor: PerChannelQuantized) -> int:
        """Bits that hold every integer of the tensor."""
        return 16 if is_wide(tensor.symbols_OI) else 8

    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """A matrix of either width."""
        return len(shape) == 2 and detail in (8, 16)

    def describe(self, tensor: PerChannelQuantized) -> str:
        """Levels."""
        return f"{count_levels(tensor.symbols_OI)} levels x row scale"

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
