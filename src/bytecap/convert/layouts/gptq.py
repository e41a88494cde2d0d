"""GPTQ: integers of 2, 3, 4 or 8 bits in words along the inputs, zero points in words along the outputs, less one.

weight[i, o] = scale[g, o] * (q[i, o] - zero[g, o]) with g the group of input i; `gptq_v2` stores zero points as they
are.

Source:  AutoGPTQ and GPTQModel, `QuantLinear.pack`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bytecap.convert.layouts.base import Layout, WeightParts, unpack


class GPTQ(Layout):
    """The matrix comes out as (outputs, inputs)."""

    title = "GPTQ"
    ends: ClassVar[tuple[str, ...]] = (".qweight", ".qzeros", ".scales")
    others: ClassVar[tuple[str, ...]] = (".g_idx",)

    def recognizes(self, parts: WeightParts) -> bool:
        """Its words have a column for each output."""
        words, scale = parts[".qweight"], parts[".scales"]
        return words.dtype == torch.int32 and words.ndim == scale.ndim == 2 and words.size(1) == scale.size(1)

    def numbers(self, parts: WeightParts) -> Tensor:
        """Groups follow one another where there is no `g_idx`."""
        scale_GO, zeros = parts[".scales"].float(), parts[".qzeros"]
        groups, outputs = scale_GO.shape
        parts.check(zeros.ndim == 2 and zeros.size(0) == groups, "its zero points are not those of its groups")
        bits = zeros.size(1) * 32 // max(outputs, 1)
        parts.check(bits in (2, 3, 4, 8), f"it would have {bits} bits")
        q_IO = unpack(parts[".qweight"].T, bits).T
        zero_GO = unpack(zeros, bits)[:, :outputs]
        if parts.config.get("checkpoint_format") != "gptq_v2":
            zero_GO = (zero_GO + 1) & ((1 << bits) - 1)
        group_I = parts.get(".g_idx")
        if group_I is None:
            group_I = torch.arange(len(q_IO)) // max(1, -(-len(q_IO) // groups))
        parts.check(len(group_I) == len(q_IO), "its groups are not those of its inputs")
        parts.check(int(group_I.min()) >= 0 and int(group_I.max()) < groups, "it has inputs of groups without scales")
        return (scale_GO[group_I.long()] * (q_IO - zero_GO[group_I.long()])).T.contiguous()
