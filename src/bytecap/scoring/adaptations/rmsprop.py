"""The model's own parameters, trained on each chunk after it is scored, each at a rate by the size of its gradients.

After each chunk but a document's last, one step on the chunk's mean loss. At a document's beginning the weights are
those of the file again, and nothing is known of gradients.

Source:  RMS dynamic evaluation, arXiv 1709.07432.
Differs: gradients' second moments are those of the document so far, not of training, of which a file has none; so each
         step is one of Adam without a first moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bytecap.core.settings import bounds
from bytecap.scoring.gradients import DocumentWeights, DocumentWeightsConfig


@dataclass(frozen=True, kw_only=True)
class RMSPropConfig(DocumentWeightsConfig):
    """The learning rate and how gradients are scaled."""

    rate: float = field(default=0.002, metadata=bounds(0.0, 100.0))
    """Learning rate; a quarter of it together with a memory of the document."""
    beta: float = field(default=0.98, metadata=bounds(0.0, 0.999999))
    """Decay of the second moment in a step."""
    epsilon: float = field(default=1e-8, metadata=bounds(0.0, 1.0))
    """Added to the root of the second moment."""


class RMSProp(DocumentWeights):
    """Keeps a second moment of the document's gradients for each weight."""

    config_class = RMSPropConfig

    def __init__(self, config: RMSPropConfig) -> None:
        super().__init__(config)
        self.config = config
        self._moments: list[Tensor] = []
        self._steps = 0

    def forget(self, parameters: Sequence[Tensor]) -> None:
        """Set the second moments to zero."""
        self._moments = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = 0

    def step(self, values: list[Tensor], gradients: tuple[Tensor, ...]) -> Iterable[Tensor]:
        """Move each weight by the rate times its gradient over the root of its second moment."""
        beta = self.config.beta
        self._steps += 1
        torch._foreach_mul_(self._moments, beta)
        torch._foreach_addcmul_(self._moments, gradients, gradients, value=1 - beta)
        sizes = torch._foreach_sqrt(torch._foreach_div(self._moments, 1 - beta**self._steps))
        torch._foreach_add_(sizes, self.config.epsilon)
        return torch._foreach_addcdiv(values, gradients, sizes, value=-self.config.rate)
