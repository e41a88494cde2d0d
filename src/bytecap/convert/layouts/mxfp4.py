"""MXFP4 as in gpt-oss: floats of 4 bits (E2M1) in groups of 32 with a power of two, experts in a tensor of three axes.

weight = number * 2^(scale - 127). The experts of a layer are kept as (experts, outputs, groups, 16 bytes) and come out
as transformers holds them, (experts, inputs, outputs).

Source:  OCP Microscaling Formats 1.0; `convert_moe_packed_tensors` of transformers.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import Layout, WeightParts, floats_of_4_bits

BIAS = 127


class MXFP4(Layout):
    """The low half of a byte comes first."""

    title = "MXFP4"
    ends: ClassVar[tuple[str, ...]] = ("_blocks", "_scales")
    result = ""

    def recognizes(self, parts: WeightParts) -> bool:
        """Bytes, and a byte more for each group."""
        blocks, scales = parts["_blocks"], parts["_scales"]
        return blocks.dtype == scales.dtype == torch.uint8 and blocks.ndim == scales.ndim + 1

    def numbers(self, parts: WeightParts) -> Tensor:
        """Groups follow one another along the inputs."""
        blocks, scales = parts["_blocks"], parts["_scales"]
        parts.check(blocks.shape[:-1] == scales.shape and blocks.size(-1) == 16, "it has other groups")
        value = torch.ldexp(floats_of_4_bits(blocks), scales.int()[..., None] - BIAS).flatten(-2)
        return value.transpose(-1, -2).contiguous() if value.ndim == 3 else value
