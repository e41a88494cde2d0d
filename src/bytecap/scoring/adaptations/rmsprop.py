"""The model's own parameters, trained on each chunk after it is scored, each at a rate by the size of its gradients.

After each chunk but a document's last, one step on the chunk's mean loss. At a document's beginning the weights are
those of the file again, and nothing is known of gradients.

Source:  RMS dynamic evaluation, arXiv 1709.07432.
Differs: gradients' second moments are those of the document so far, not of training, of which a file has none; so each
         step is one of Adam without a first moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bytecap.core.settings import bounds, check_bounds
from bytecap.model.gpt import GPT
from bytecap.model.roles import parameter_roles
from bytecap.model.spec import MAX_CONTEXT
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig
from bytecap.scoring.gradients import ModelWeights, row_gradients
from bytecap.scoring.ledger import Scored


@dataclass(frozen=True, kw_only=True)
class RMSPropConfig(AdaptationConfig):
    """How fast it learns."""

    rate: float = field(default=0.002, metadata=bounds(0.0, 100.0))
    """Learning rate; a quarter of it beside a memory of the document."""
    chunk: int = field(default=64, metadata=bounds(1, MAX_CONTEXT))
    """Positions of a document between two steps."""
    beta: float = field(default=0.98, metadata=bounds(0.0, 0.999999))
    """What the second moment keeps in a step."""
    epsilon: float = field(default=1e-8, metadata=bounds(0.0, 1.0))
    """Added to the root of the second moment."""

    def __post_init__(self) -> None:
        """ConfigError for numbers that cannot be."""
        check_bounds(self)


class RMSProp(Adaptation):
    """Weights of one document at a time."""

    config_class = RMSPropConfig
    needs_gradient = True
    moves_weights = True

    def __init__(self, config: RMSPropConfig) -> None:
        super().__init__(config)
        self.config = config
        self._weights: ModelWeights | None = None
        self._moments: list[Tensor] = []
        self._steps = 0

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
            self._weights = ModelWeights(model, parameter_roles(model))
        self.reset(0)

    def reset(self, row: int) -> None:
        """The weights of the file."""
        assert self._weights is not None
        self._weights.restart()
        self._moments = [torch.zeros_like(parameter) for parameter in self._weights.now]
        self._steps = 0

    def learn(self, scored: Scored) -> None:
        """One step."""
        assert self._weights is not None
        parameters, beta = self._weights.now, self.config.beta
        gradients = row_gradients(scored, parameters)
        self._steps += 1
        torch._foreach_mul_(self._moments, beta)
        torch._foreach_addcmul_(self._moments, gradients, gradients, value=1 - beta)
        sizes = torch._foreach_sqrt(torch._foreach_div(self._moments, 1 - beta**self._steps))
        torch._foreach_add_(sizes, self.config.epsilon)
        values = [parameter.detach() for parameter in parameters]
        self._weights.replace(torch._foreach_addcdiv(values, gradients, sizes, value=-self.config.rate))
