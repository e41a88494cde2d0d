"""bitsandbytes' 8 bits (LLM.int8()): integers with the largest number of each row, weight = q * SCB / 127.

Source:  arXiv 2208.07339; `Int8Params` of bitsandbytes.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import Layout, WeightParts


class BitsAndBytes8(Layout):
    """Rows as they are; formats for other orders (`weight_format`) are refused."""

    title = "bitsandbytes, 8 bits"
    ends: ClassVar[tuple[str, ...]] = (".weight", ".SCB")
    others: ClassVar[tuple[str, ...]] = (".weight_format",)

    def recognizes(self, parts: WeightParts) -> bool:
        """A matrix of integers."""
        return parts[".weight"].dtype == torch.int8

    def numbers(self, parts: WeightParts) -> Tensor:
        """Format 0 is row by row."""
        weight_OI, most_O, order = parts[".weight"], parts[".SCB"], parts.get(".weight_format")
        parts.check(order is None or int(order.max()) == 0, "its rows are stored in an order of one kind of GPU")
        parts.check(weight_OI.ndim == 2 and most_O.shape == weight_OI.shape[:1], "it has another number of rows")
        return weight_OI.float() * (most_O.float() / 127.0)[:, None]
