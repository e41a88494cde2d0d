"""Gated skips: the first half of the visits passes its outputs, last first, to the second half, blended by a gate.

    x <- g * x + (1 - g) * w * (output saved last),  g = sigmoid(gate), per channel and skip

The gate starts at 0, so at an even blend, and w at 1. Where blocks are visited more than once, visits count: 17 are 8
that save and 9 that follow. The innermost pair always has the first skip, so that recurrence can be switched.

Letters: S skips, B sequences, T positions, D width.
Source:  openai/parameter-golf PR #1218; the form of PR #1586, read in its base, PR #1530.
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

NAME = "gated_skips"


@dataclass(frozen=True, kw_only=True)
class GatedSkipsConfig(TechniqueConfig):
    """No settings."""

    def check(self, model: ModelConfig) -> None:
        """Raise ConfigError for a single visit, which has nothing to hand on."""
        if len(model.visits) < 2:
            raise ConfigError(
                "it joins blocks of the first half to blocks of the second, so it needs 2 blocks at least, and "
                f"model.n_layers is {model.n_layers}; raise model.n_layers, or switch it off with "
                f"--set model.techniques.{NAME}=false"
            )


class GatedSkips(Technique):
    """Two vectors for each skip."""

    config_class = GatedSkipsConfig
    roles: ClassVar[dict[str, Role]] = {"weight_SD": Role.SCALAR, "gate_SD": Role.SCALAR}

    def __init__(self, config: GatedSkipsConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        skips = len(spec.visits) // 2
        self.weight_SD = nn.Parameter(torch.ones(skips, spec.d_model))
        self.gate_SD = nn.Parameter(torch.zeros(skips, spec.d_model))

    def before(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """In the second half: the stream blended with the matching saved output."""
        skip = visit.place - visit.total // 2
        if not 0 <= skip < visit.total // 2:
            return stream_BTD
        saved_BTD = context.saved[NAME].pop() * self.weight_SD[skip].to(stream_BTD.dtype)
        return torch.lerp(saved_BTD, stream_BTD, torch.sigmoid(self.gate_SD[skip]).to(stream_BTD.dtype))

    def after(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """In the first half: saved for later."""
        if visit.place < visit.total // 2:
            context.saved.setdefault(NAME, []).append(stream_BTD)
        return stream_BTD
