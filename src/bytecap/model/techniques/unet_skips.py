"""U-Net skips: the first half of the blocks passes its outputs, last first, to the second half.

Visit i of N saves its output if i < N // 2; each later one first adds w * (the output saved last), until none is left.

Letters: N visits of blocks, S skips, B sequences, T positions, D width.
Source:  modded-nanogpt; openai/parameter-golf's naive baseline (skip_weights).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bytecap.core.errors import ConfigError
from bytecap.model.roles import Role
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques.base import Context, Technique, TechniqueConfig, Visit

NAME = "unet_skips"


@dataclass(frozen=True, kw_only=True)
class UNetSkipsConfig(TechniqueConfig):
    """No settings."""

    def check(self, model: ModelConfig) -> None:
        """Raise ConfigError for a single block, which has nothing to hand on."""
        if len(model.visits) < 2:
            raise ConfigError(
                "it joins blocks of the first half to blocks of the second, so it needs 2 blocks at least, and "
                f"model.n_layers is {model.n_layers}; raise model.n_layers, or switch it off with "
                f"--set model.techniques.{NAME}=false"
            )


class UNetSkips(Technique):
    """One vector for each skip, starting at 1."""

    config_class = UNetSkipsConfig
    roles: ClassVar[dict[str, Role]] = {"weight_SD": Role.SCALAR}

    def __init__(self, config: UNetSkipsConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.weight_SD = nn.Parameter(torch.ones(len(spec.visits) // 2, spec.d_model))

    def before(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """In the second half: the stream plus the matching saved output."""
        skip = visit.place - visit.total // 2
        if not 0 <= skip < visit.total // 2:
            return stream_BTD
        return torch.addcmul(stream_BTD, context.saved[NAME].pop(), self.weight_SD[skip].to(stream_BTD.dtype))

    def after(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """In the first half: saved for later."""
        if visit.place < visit.total // 2:
            context.saved.setdefault(NAME, []).append(stream_BTD)
        return stream_BTD
