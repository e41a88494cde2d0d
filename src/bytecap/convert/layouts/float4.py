"""A tensor of torch's floats of 4 bits, two numbers to a byte, without any scale.

Source:  `torch.float4_e2m1fn_x2`, F4 of safetensors.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import Layout, WeightParts, floats_of_4_bits


class Float4(Layout):
    """The low half of a byte comes first."""

    title = "4-bit floats"
    ends: ClassVar[tuple[str, ...]] = ("",)
    result = ""

    def recognizes(self, parts: WeightParts) -> bool:
        """By its type alone."""
        return parts[""].dtype == torch.float4_e2m1fn_x2

    def numbers(self, parts: WeightParts) -> Tensor:
        """The last axis doubles."""
        return floats_of_4_bits(parts[""].view(torch.uint8))
