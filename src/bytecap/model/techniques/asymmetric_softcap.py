"""Asymmetric softcap: logits above and below zero have a learned softcap each.

    z <- c tanh(z / c),  c = c₊ where z > 0, else c₋; both start at model.logit_softcap

The sign of a softcap means nothing, so training may push it wherever it likes but to zero.

Source:  openai/parameter-golf PR #1923, in the records from PR #1945 on.
Differs: the softcaps are learned with everything else, where the source learned them during test-time training alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bytecap.core.errors import ConfigError
from bytecap.model.roles import Role
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques.base import Technique, TechniqueConfig


@dataclass(frozen=True, kw_only=True)
class AsymmetricSoftcapConfig(TechniqueConfig):
    """No settings."""

    def check(self, model: ModelConfig) -> None:
        """Raise ConfigError for a model without a softcap."""
        if model.logit_softcap == 0:
            raise ConfigError(
                "the two softcaps start at model.logit_softcap, which is 0, a model without one; raise it, or switch "
                "the technique off"
            )


class AsymmetricSoftcap(Technique):
    """Two numbers: the softcap above zero and the one below."""

    config_class = AsymmetricSoftcapConfig
    roles: ClassVar[dict[str, Role]] = {"caps_2": Role.SCALAR}
    starts_neutral = True

    def __init__(self, config: TechniqueConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.caps_2 = nn.Parameter(torch.full((2,), spec.logit_softcap))

    def softcap(self, cap: float | Tensor, logits_V: Tensor) -> float | Tensor:
        """The softcap of each logit by its sign."""
        return torch.where(logits_V > 0, self.caps_2[0], self.caps_2[1])
