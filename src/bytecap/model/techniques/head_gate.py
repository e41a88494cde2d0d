"""Head gate: each head's output is multiplied by a number between 0 and 1 that a few input channels decide.

    o_h <- sigmoid(s * W_h · x[:I]) * o_h,  x the normalised stream that attention read

W starts at zero, so every gate at one half.

Letters: L blocks, H query heads, I input channels, B sequences, T positions, K head width.
Source:  modded-nanogpt; openai/parameter-golf PR #1787 (12 channels, s = 1; s = 0.5 in PR #1855).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds
from bytecap.model.roles import Role
from bytecap.model.spec import MAX_WIDTH, ModelConfig, ModelSpec
from bytecap.model.techniques.base import Attended, Context, Technique, TechniqueConfig, Visit


@dataclass(frozen=True, kw_only=True)
class HeadGateConfig(TechniqueConfig):
    """What the gates see, and how steep they are."""

    inputs: int = field(default=12, metadata=bounds(1, MAX_WIDTH))
    """The first channels I of the stream, which decide."""
    scale: float = field(default=1.0, metadata=bounds(1e-3, 1e3))
    """The factor s before the sigmoid."""

    def check(self, model: ModelConfig) -> None:
        """Raise ConfigError for more channels than the stream has."""
        if self.inputs > model.d_model:
            raise ConfigError(
                f"inputs is {self.inputs}, and model.d_model, the width of the stream, {model.d_model}; lower inputs"
            )


class HeadGate(Technique):
    """One short vector for each block and head."""

    config_class = HeadGateConfig
    roles: ClassVar[dict[str, Role]] = {"weight_LHI": Role.SCALAR}
    runs_after = ("xsa",)  # the gate is the last that happens to a head

    def __init__(self, config: HeadGateConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.scale = config.scale
        self.weight_LHI = nn.Parameter(torch.zeros(spec.n_layers, spec.n_heads, config.inputs))

    def heads(self, heads_BHTK: Tensor, attended: Attended, visit: Visit, context: Context) -> Tensor:
        """The heads' outputs, each by its gate."""
        weight_HI = self.weight_LHI[visit.block].to(heads_BHTK.dtype)
        logit_BTH = F.linear(attended.input_BTD[..., : weight_HI.size(1)], weight_HI)
        return heads_BHTK * torch.sigmoid(self.scale * logit_BTH).transpose(1, 2).unsqueeze(-1)
