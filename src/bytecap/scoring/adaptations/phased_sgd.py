"""Pauses in which the model's weights are trained on all that was scored since the last one, and kept from there on.

After `phase_tokens` scored positions, `epochs` passes of SGD with momentum go over them, a row of `row` positions at a
step, in the order in which they were scored. Documents run one after the other.

Source:  openai/parameter-golf #1610 (one pause after 2,000 documents) and #1626 (three).
Differs: a pause comes after a number of positions, and again after as many, whatever documents they are of.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bytecap.core.settings import bounds, check_bounds
from bytecap.model.gpt import GPT
from bytecap.model.mean_loss import mean_loss
from bytecap.model.spec import MAX_CONTEXT
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig
from bytecap.scoring.gradients import ModelWeights
from bytecap.scoring.ledger import Scored


@dataclass(frozen=True, kw_only=True)
class PhasedSGDConfig(AdaptationConfig):
    """When the score pauses, and how the weights are trained then."""

    phase_tokens: int = field(default=8_192, metadata=bounds(1, 1 << 40))
    """Scored positions between two pauses."""
    epochs: int = field(default=1, metadata=bounds(1, 1_000))
    """Passes over them in a pause."""
    row: int = field(default=512, metadata=bounds(1, MAX_CONTEXT))
    """Positions of a step."""
    rate: float = field(default=0.05, metadata=bounds(0.0, 100.0))
    """Learning rate."""
    momentum: float = field(default=0.0, metadata=bounds(0.0, 0.9999))
    """Momentum of the steps; each pause begins with none."""
    clip: float = field(default=1.0, metadata=bounds(0.0, 1e9))
    """Largest norm of the gradient of a step; 0: no bound."""

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers out of bounds."""
        check_bounds(self)


class PhasedSGD(Adaptation):
    """Trains the weights in each pause and keeps them for what follows."""

    config_class = PhasedSGDConfig
    moves_weights = True

    def __init__(self, config: PhasedSGDConfig) -> None:
        super().__init__(config)
        self.config = config
        self._weights: ModelWeights | None = None

    @property
    def across_documents(self) -> bool:
        """Always true: what was learned is used for the documents that follow."""
        return True

    def begin(self, model: GPT, rows: int, bos: int) -> None:
        """Restart from the weights of the file."""
        if self._weights is None:
            self._weights = ModelWeights(model, [name for name, _ in model.named_parameters()])
        self._weights.restart()
        model.requires_grad_(False)
        self._model, self._bos = model, bos
        self._inputs: list[Tensor] = []
        self._targets: list[Tensor] = []

    def learn(self, scored: Scored) -> None:
        """Keep what was scored, and train on it once it is enough for a phase."""
        counted_T = scored.counted_BT[0]
        self._inputs.append(scored.inputs_BT[0, counted_T])
        self._targets.append(scored.targets_BT[0, counted_T])
        if sum(map(len, self._inputs)) >= self.config.phase_tokens:
            self._train(torch.cat(self._inputs), torch.cat(self._targets))
            self._inputs, self._targets = [], []

    def _train(self, inputs_N: Tensor, targets_N: Tensor) -> None:
        """Train on every row once in each epoch of the pause."""
        assert self._weights is not None
        config = self.config
        self._weights.replace([parameter.detach().clone() for parameter in self._weights.now])
        parameters = self._weights.now
        device, optimizer = parameters[0].device, torch.optim.SGD(parameters, lr=config.rate, momentum=config.momentum)
        with torch.enable_grad():
            for _ in range(config.epochs):
                for first in range(0, len(inputs_N), config.row):
                    row = slice(first, first + config.row)
                    inputs_BT, targets_BT = inputs_N[None, row].to(device), targets_N[None, row].to(device)
                    optimizer.zero_grad()
                    loss = mean_loss(self._model, inputs_BT, targets_BT, self._bos)
                    loss.backward()  # type: ignore[no-untyped-call]
                    if config.clip:
                        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
                    optimizer.step()
        self._weights.replace([parameter.detach() for parameter in parameters])
        self._model.requires_grad_(False)
