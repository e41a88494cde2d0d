"""The model's own parameters, trained on each chunk after it is scored.

After each chunk but a document's last, one step of SGD on the chunk's mean loss. At a document's beginning the weights
are those of the file again, unless they are kept across documents.

Source:  dynamic evaluation, arXiv 1709.07432; in openai/parameter-golf #549.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from bytecap.core.settings import bounds
from bytecap.model.gpt import GPT
from bytecap.model.roles import Role, parameter_roles
from bytecap.scoring.gradients import DocumentWeights, DocumentWeightsConfig


@dataclass(frozen=True, kw_only=True)
class SGDConfig(DocumentWeightsConfig):
    """What learns, and how fast."""

    rate: float = field(default=0.1, metadata=bounds(0.0, 100.0))
    """Learning rate."""
    parameters: Literal["all", "scalars"] = "all"
    """Every parameter, or the control parameters alone: scales, gains, gates, mixes."""
    clip: float = field(default=1.0, metadata=bounds(0.0, 1e9))
    """Largest norm of the gradient of a step; 0: no bound."""
    across_documents: bool = False
    """The weights are kept across documents, which then run one after the other."""


class SGD(DocumentWeights):
    """Plain gradient descent, with steps of bounded length."""

    config_class = SGDConfig

    def __init__(self, config: SGDConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def across_documents(self) -> bool:
        """`across_documents` of the settings."""
        return self.config.across_documents

    def learned_names(self, model: GPT) -> Iterable[str]:
        """The names of all parameters, or of those with role SCALAR."""
        roles = parameter_roles(model)
        return [name for name in roles if self.config.parameters == "all" or roles[name] == Role.SCALAR]

    def step(self, values: list[Tensor], gradients: tuple[Tensor, ...]) -> Iterable[Tensor]:
        """Move all weights against their gradients."""
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        rate = self.config.rate
        if self.config.clip and norm > self.config.clip:
            rate *= self.config.clip / norm
        return torch._foreach_add(values, gradients, alpha=-rate)
