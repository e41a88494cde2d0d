"""The softcap, above and below zero, and the temperature of the logits, learned while a text is scored.

    logits = temperature * cap * tanh(raw / cap),   cap = above where raw > 0, below elsewhere

The logarithms of the three factors on what the model has are learned, by SGD on the mean loss of each chunk. Only the
output map takes part in the backward pass.

Letters: B rows, T positions, V vocabulary.
Source:  asymmetric softcaps of test-time training as in openai/parameter-golf #1923; learned online here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bytecap.core.settings import bounds
from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig
from bytecap.scoring.gradients import row_gradients
from bytecap.scoring.ledger import Scored


@dataclass(frozen=True, kw_only=True)
class SoftcapTemperatureConfig(AdaptationConfig):
    """How fast the three factors are learned."""

    rate: float = field(default=0.1, metadata=bounds(0.0, 100.0))
    """Learning rate of the logarithms."""
    chunk: int = field(default=64, metadata=bounds(1, 1 << 14))
    """Positions between two steps."""
    across_documents: bool = False
    """What was learned is kept across documents, which then run one after the other."""


class SoftcapTemperature(Adaptation):
    """Learns three factors for each row: two of the softcap and one of the temperature."""

    config_class = SoftcapTemperatureConfig
    needs_gradient = True

    def __init__(self, config: SoftcapTemperatureConfig) -> None:
        super().__init__(config)
        self.config = config

    @property
    def across_documents(self) -> bool:
        """`across_documents` of the settings."""
        return self.config.across_documents

    @property
    def chunk(self) -> int:
        """The chunk of the settings."""
        return self.config.chunk

    def begin(self, model: GPT, rows: int, bos: int) -> None:
        """Set all factors to one."""
        device = next(model.parameters()).device
        self._logs_B3 = torch.zeros(rows, 3, device=device, requires_grad=True)

    def reset(self, row: int) -> None:
        """Set the row's factors to one."""
        logs_B3 = self._logs_B3.detach().clone()
        logs_B3[row] = 0
        self._logs_B3 = logs_B3.requires_grad_()

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the factors of these rows."""
        self._logs_B3 = self._logs_B3.detach()[list(rows)].requires_grad_()

    def softcap(self, cap: float | Tensor, logits_BTV: Tensor) -> Tensor:
        """Multiply the softcap by one factor above zero and another below."""
        above_B11, below_B11 = self._factors(0), self._factors(1)
        return cap * torch.where(logits_BTV > 0, above_B11, below_B11)

    def logits(self, logits_BTV: Tensor, hidden_BTD: Tensor, inputs_BT: Tensor) -> Tensor:
        """Multiply the logits by the temperature's factor."""
        return logits_BTV * self._factors(2)

    def learn(self, scored: Scored) -> None:
        """Take one step in each row on the mean loss of its chunk."""
        (gradient_B3,) = row_gradients(scored, [self._logs_B3])
        self._logs_B3 = (self._logs_B3.detach() - self.config.rate * gradient_B3).requires_grad_()

    def _factors(self, number: int) -> Tensor:
        return self._logs_B3[:, number, None, None].exp()
