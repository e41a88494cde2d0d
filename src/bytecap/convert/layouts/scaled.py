"""Integers of 8 bits or floats of 8 bits with scales for all, for each row, or for groups of columns.

weight = (number - zero point) * scale, without a zero point where none is stored.

Source:  `int-quantized`, `float-quantized` and `naive-quantized` of compressed-tensors; FBGEMM's fp8.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import FLOATS8, Layout, WeightParts, spread


class Scaled(Layout):
    """The matrix as it is, under its usual name."""

    title = "8 bits with scales"
    ends: ClassVar[tuple[str, ...]] = (".weight", ".weight_scale")
    others: ClassVar[tuple[str, ...]] = (".weight_zero_point", ".input_scale", ".input_zero_point")

    def recognizes(self, parts: WeightParts) -> bool:
        """Eight bits, and no other part that would say more of them."""
        return parts[".weight"].dtype in (torch.int8, *FLOATS8)

    def numbers(self, parts: WeightParts) -> Tensor:
        """A zero point has the shape of the scales."""
        weight_OI, zero = parts[".weight"], parts.get(".weight_zero_point")
        value_OI = weight_OI.float()
        if zero is not None:
            value_OI = value_OI - spread(zero, weight_OI.shape, parts)
        return value_OI * spread(parts[".weight_scale"], weight_OI.shape, parts)
