"""AWQ: integers of 4 bits, eight outputs to a word in the order 0 2 4 6 1 3 5 7, zero points likewise.

weight[i, o] = scale[g, o] * (q[i, o] - zero[g, o]) with g the group of input i.

Source:  AutoAWQ, `WQLinear_GEMM.from_linear`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import Layout, WeightParts, unpack

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""The output that each four bits of a word are of, the lowest first."""


class AWQ(Layout):
    """The matrix comes out as (outputs, inputs)."""

    title = "AWQ"
    ends: ClassVar[tuple[str, ...]] = (".qweight", ".qzeros", ".scales")

    def recognizes(self, parts: WeightParts) -> bool:
        """Its words have a row for each input."""
        words, scale = parts[".qweight"], parts[".scales"]
        return words.dtype == torch.int32 and words.ndim == scale.ndim == 2 and 8 * words.size(1) == scale.size(1)

    def numbers(self, parts: WeightParts) -> Tensor:
        """Groups of inputs follow one another."""
        q_IO, zero_GO, scale_GO = _outputs(parts[".qweight"]), _outputs(parts[".qzeros"]), parts[".scales"].float()
        groups = len(scale_GO)
        parts.check(zero_GO.shape == scale_GO.shape, "its zero points are not those of its groups")
        parts.check(len(q_IO) % max(groups, 1) == 0, "its inputs are no whole number of groups")
        size = len(q_IO) // max(groups, 1)
        spread_IO = scale_GO.repeat_interleave(size, dim=0)
        return (spread_IO * (q_IO - zero_GO.repeat_interleave(size, dim=0))).T.contiguous()


def _outputs(words_NW: Tensor) -> Tensor:
    """The integers (N, 8 W) of words, in the order of the outputs."""
    packed_NW8 = unpack(words_NW, 4).reshape(len(words_NW), -1, len(ORDER))
    return packed_NW8[..., torch.tensor(ORDER).argsort()].flatten(-2)
