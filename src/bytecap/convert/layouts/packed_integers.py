"""compressed-tensors' packed integers: 2, 4 or 8 bits in words along the inputs, offset by half their range.

weight = (q - 2^(bits - 1) - zero point) * scale, the zero point packed along the outputs where there is one.

Source:  `pack-quantized` of compressed-tensors, `unpack_from_int32`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import Layout, WeightParts, spread, unpack


class PackedIntegers(Layout):
    """The last word of a row may have numbers that are none."""

    title = "packed integers of compressed-tensors"
    ends: ClassVar[tuple[str, ...]] = (".weight_packed", ".weight_scale", ".weight_shape")
    others: ClassVar[tuple[str, ...]] = (".weight_zero_point", ".weight_g_idx")

    def recognizes(self, parts: WeightParts) -> bool:
        """Words."""
        return parts[".weight_packed"].dtype == torch.int32

    def numbers(self, parts: WeightParts) -> Tensor:
        """How many numbers a word holds follows from the shape."""
        words_OW, sizes = parts[".weight_packed"], parts[".weight_shape"].flatten().tolist()
        parts.check(words_OW.ndim == 2 and len(sizes) == 2 and sizes[0] == len(words_OW) > 0, "its shape is another")
        rows, columns = int(sizes[0]), int(sizes[1])
        bits = next((b for b in (2, 4, 8) if -(-columns * b // 32) == words_OW.size(1)), 0)
        parts.check(bits > 0, "its words are too many or too few for its shape")
        parts.check(parts.get(".weight_g_idx") is None, "its groups are not in order")
        half, zero = 1 << (bits - 1), parts.get(".weight_zero_point")
        value_OI = (unpack(words_OW, bits)[:, :columns] - half).float()
        if zero is not None:
            if zero.dtype == torch.int32:
                zero = (unpack(zero.T, bits)[:, :rows] - half).T
            value_OI = value_OI - spread(zero, value_OI.shape, parts)
        return value_OI * spread(parts[".weight_scale"], value_OI.shape, parts)
