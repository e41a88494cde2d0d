"""Floats of 8 bits with a scale for each block of 128 x 128, as in DeepSeek-V3: weight = float8 * scale_inv.

Source:  DeepSeek-V3's `inference/fp8_cast_bf16.py`; `weight_block_size` of its config.
"""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from bytecap.convert.layouts.base import FLOATS8, Layout, WeightParts, spread

BLOCK = 128
"""Rows and columns of a block where the config does not say."""


class Float8Blocks(Layout):
    """`scale_inv` multiplies, whatever its name says."""

    title = "fp8 with scale_inv"
    ends: ClassVar[tuple[str, ...]] = (".weight", ".weight_scale_inv")
    others: ClassVar[tuple[str, ...]] = (".input_scale", ".activation_scale")

    def recognizes(self, parts: WeightParts) -> bool:
        """Any scales of floats of 8 bits."""
        return parts[".weight"].dtype in FLOATS8

    def numbers(self, parts: WeightParts) -> Tensor:
        """The last blocks of an axis may be smaller."""
        weight_OI, scale = parts[".weight"], parts[".weight_scale_inv"]
        config = dict(parts.config)
        if "weight_block_size" not in config and scale.ndim == 2:
            blocks = [math.ceil(size / BLOCK) for size in weight_OI.shape]
            if blocks == list(scale.shape):
                config["weight_block_size"] = [BLOCK, BLOCK]
        return weight_OI.float() * spread(scale, weight_OI.shape, WeightParts(parts.stem, parts.tensors, config))
