"""SmearGate: before the first block each position blends in its left neighbour.

    x_t <- (1 - g) * x_t + g * x_{t-1},  g = sigmoid(gate), per channel; gate starts at 0, so at an even blend

Letters: B sequences, T positions, D width.
Source:  openai/parameter-golf PR #219.
Differs: a document's first token has no neighbour; the published run let the last token of the document before in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bytecap.model.roles import Role
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Context, Technique, TechniqueConfig


@dataclass(frozen=True, kw_only=True)
class SmearGateConfig(TechniqueConfig):
    """No settings."""


class SmearGate(Technique):
    """One gate for each channel."""

    config_class = SmearGateConfig
    roles: ClassVar[dict[str, Role]] = {"gate_D": Role.SCALAR}

    def __init__(self, config: SmearGateConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.gate_D = nn.Parameter(torch.zeros(spec.d_model))

    def first(self, stream_BTD: Tensor, context: Context) -> Tensor:
        """The blend with the position before."""
        gate_D = torch.sigmoid(self.gate_D).to(stream_BTD.dtype)
        return stream_BTD + gate_D * (context.previous(stream_BTD) - stream_BTD)
