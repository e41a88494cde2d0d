"""NVFP4: floats of 4 bits (E2M1) in groups of 16 with a scale of 8 bits, and one scale for the whole matrix.

Source:  `weight_scale_2` of NVIDIA's ModelOpt, which multiplies.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import FLOATS8, Layout, WeightParts, floats_of_4_bits, spread


class NVFP4(Layout):
    """The low half of a byte comes first."""

    title = "NVFP4"
    ends: ClassVar[tuple[str, ...]] = (".weight", ".weight_scale", ".weight_scale_2")
    others: ClassVar[tuple[str, ...]] = (".input_scale",)

    def recognizes(self, parts: WeightParts) -> bool:
        """Bytes with scales of 8 bits."""
        return parts[".weight"].dtype == torch.uint8 and parts[".weight_scale"].dtype in FLOATS8

    def numbers(self, parts: WeightParts) -> Tensor:
        """Both scales multiply."""
        value_OI, whole = floats_of_4_bits(parts[".weight"]), parts[".weight_scale_2"]
        parts.check(whole.numel() == 1, "it has more than one scale for the whole")
        return value_OI * (spread(parts[".weight_scale"], value_OI.shape, parts) * whole.float().reshape(()))
