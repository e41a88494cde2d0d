"""U-Net skips: the first half of the blocks hands its outputs, last first, to the second half.

Block i < L // 2 saves its output; each later block first adds w * (the output saved last), until none is left.

Letters: L blocks, S skips, B sequences, T positions, D width.
Source:  modded-nanogpt; openai/parameter-golf's naive baseline (skip_weights).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from bytecap.model.roles import Role
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Context, RoutePart


class UNetSkips(RoutePart):
    """One vector for each skip, starting at 1."""

    roles: ClassVar[dict[str, Role]] = {"weight_SD": Role.SCALAR}

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.skips = spec.n_layers // 2
        self.weight_SD = nn.Parameter(torch.ones(self.skips, spec.d_model))

    def before(self, index: int, stream_BTD: Tensor, context: Context) -> Tensor:
        """In the second half: the stream plus the matching saved output."""
        skip = index - self.skips
        if not 0 <= skip < self.skips:
            return stream_BTD
        return torch.addcmul(stream_BTD, context.saved_BTD.pop(), self.weight_SD[skip].to(stream_BTD.dtype))

    def after(self, index: int, stream_BTD: Tensor, context: Context) -> Tensor:
        """In the first half: saved for later."""
        if index < self.skips:
            context.saved_BTD.append(stream_BTD)
        return stream_BTD
