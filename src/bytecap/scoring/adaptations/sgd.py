"""The model's own parameters, trained on each chunk after it is scored.

After each chunk but a document's last, one step of SGD on the chunk's mean loss. At a document's beginning the weights
are those of the file again, unless they are kept across documents.

Source:  dynamic evaluation, arXiv 1709.07432; in openai/parameter-golf #549.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from bytecap.core.settings import bounds, check_bounds
from bytecap.model.gpt import GPT
from bytecap.model.roles import Role, parameter_roles
from bytecap.model.spec import MAX_CONTEXT
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig
from bytecap.scoring.gradients import ModelWeights, row_gradients
from bytecap.scoring.ledger import Scored


@dataclass(frozen=True, kw_only=True)
class SGDConfig(AdaptationConfig):
    """What learns, and how fast."""

    rate: float = field(default=0.1, metadata=bounds(0.0, 100.0))
    """Learning rate."""
    parameters: Literal["all", "scalars"] = "all"
    """Every parameter, or the control parameters alone: scales, gains, gates, mixes."""
    chunk: int = field(default=64, metadata=bounds(1, MAX_CONTEXT))
    """Positions of a document between two steps."""
    clip: float = field(default=1.0, metadata=bounds(0.0, 1e9))
    """Largest norm of the gradient of a step; 0: any."""
    across_documents: bool = False
    """The weights are kept over documents, which then run one after the other."""

    def __post_init__(self) -> None:
        """ConfigError for numbers that cannot be."""
        check_bounds(self)


class SGD(Adaptation):
    """Weights of one document at a time."""

    config_class = SGDConfig
    needs_gradient = True
    moves_weights = True

    def __init__(self, config: SGDConfig) -> None:
        super().__init__(config)
        self.config = config
        self._weights: ModelWeights | None = None

    @property
    def across_documents(self) -> bool:
        """True where the setting says so."""
        return self.config.across_documents

    @property
    def chunk(self) -> int:
        """The setting."""
        return self.config.chunk

    @property
    def max_rows(self) -> int:
        """Every document has weights of its own."""
        return 1

    def begin(self, model: GPT, rows: int, bos: int) -> None:
        """The weights of the file."""
        if self._weights is None:
            roles, wanted = parameter_roles(model), self.config.parameters
            self._weights = ModelWeights(model, [n for n in roles if wanted == "all" or roles[n] == Role.SCALAR])
        self._weights.restart()

    def reset(self, row: int) -> None:
        """The weights of the file."""
        assert self._weights is not None
        self._weights.restart()

    def learn(self, scored: Scored) -> None:
        """One step."""
        assert self._weights is not None
        parameters = self._weights.now
        gradients = row_gradients(scored, parameters)
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        rate = self.config.rate
        if self.config.clip and norm > self.config.clip:
            rate *= self.config.clip / norm
        self._weights.replace(torch._foreach_add([p.detach() for p in parameters], gradients, alpha=-rate))
