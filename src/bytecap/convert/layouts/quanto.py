"""quanto's 8 bits: integers or floats of 8 bits with scales for all or for each row, under the name of the weight.

Source:  `QBytesTensor` of optimum-quanto.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import FLOATS8, Layout, WeightParts, spread


class Quanto(Layout):
    """`weight._data` and `weight._scale`."""

    title = "quanto, 8 bits"
    ends: ClassVar[tuple[str, ...]] = ("._data", "._scale")
    result = ""

    def recognizes(self, parts: WeightParts) -> bool:
        """Eight bits; packed ones have other names."""
        return parts["._data"].dtype in (torch.int8, *FLOATS8)

    def numbers(self, parts: WeightParts) -> Tensor:
        """A product."""
        data = parts["._data"]
        return data.float() * spread(parts["._scale"], data.shape, parts)
