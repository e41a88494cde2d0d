"""Residual mix: each block reads a blend of the stream and the first stream.

    x <- a * x + b * x_first, per channel and block; starts at a = 1, b = 0

Or it starts as a "phase transition", in which early blocks read more of the first stream:

    a = sigmoid(3 (i / (L - 1) - 1/2)), b = 1 - a in block i from 0

Letters: L blocks, B sequences, T positions, D width.
Source:  modded-nanogpt; openai/parameter-golf's naive baseline (resid_mix); the phase transition is of #60 and #309.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from bytecap.model.roles import Role
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Context, Technique, TechniqueConfig, Visit

_STEEPNESS = 3.0


@dataclass(frozen=True, kw_only=True)
class ResidualMixConfig(TechniqueConfig):
    """How the mix begins."""

    start: Literal["stream", "phase_transition"] = "stream"
    """"stream": each block reads the stream alone, which changes nothing. "phase_transition": a share of the first
    stream that falls with depth along a sigmoid, from 0.82 to 0.18."""


class ResidualMix(Technique):
    """Two vectors for each block."""

    config_class = ResidualMixConfig
    roles: ClassVar[dict[str, Role]] = {"mix_L2D": Role.SCALAR}
    runs_after = ("gated_skips", "parallel_lanes", "unet_skips")  # the mix blends what the skips have added
    starts_neutral = True

    def __init__(self, config: ResidualMixConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        mix_L2D = torch.zeros(spec.n_layers, 2, spec.d_model)
        mix_L2D[:, 0] = 1.0
        if config.start == "phase_transition":
            for block in range(spec.n_layers):
                keep = 1 / (1 + math.exp(-_STEEPNESS * (block / max(1, spec.n_layers - 1) - 0.5)))
                mix_L2D[block, 0], mix_L2D[block, 1] = keep, 1 - keep
        self.mix_L2D = nn.Parameter(mix_L2D)

    def before(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """The blend that the block reads."""
        keep_D, first_D = self.mix_L2D[visit.block].to(stream_BTD.dtype)
        return torch.addcmul(stream_BTD * keep_D, context.first_BTD, first_D)
