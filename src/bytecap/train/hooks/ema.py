"""An exponential moving average of the weights, in float32.

    average <- decay * average + (1 - decay) * weights, after each step from `start` on

It begins as the weights are then: at `start` 0 those before the first step.

Source:  Polyak averaging as in openai/parameter-golf PR #332 (decay 0.997 from the first step, exported at the end).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bytecap.core.settings import bounds
from bytecap.train.hooks.base import HookConfig, TrainingHook


@dataclass(frozen=True, kw_only=True)
class EMAConfig(HookConfig):
    """How long the average remembers."""

    decay: float = field(default=0.997, metadata=bounds(0.0, 0.999999))
    """Share of the average that a step keeps."""
    start: float = field(default=0.0, metadata=bounds(0.0, 1.0))
    """Fraction of the run after which it begins."""


class EMA(TrainingHook):
    """Keeps one average for each parameter."""

    config_class = EMAConfig
    changes = ("average",)
    gives_weights = True

    def __init__(self, config: EMAConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.config = config
        self.averages: dict[str, Tensor] = _copied(model) if config.start == 0 else {}

    @torch.no_grad()
    def after_step(self, model: nn.Module, progress: float) -> None:
        """Move the averages towards the weights."""
        if progress < self.config.start:
            return
        if not self.averages:
            self.averages = _copied(model)
            return
        weights = dict(model.named_parameters())
        targets = [weights[name].detach().float() for name in self.averages]
        torch._foreach_lerp_(list(self.averages.values()), targets, 1.0 - self.config.decay)

    def at_end(self, model: nn.Module) -> dict[str, Tensor]:
        """The averages; `start` is at most 1, so the last step at the latest has begun them."""
        return self.averages

    def state_tensors(self) -> dict[str, Tensor]:
        """The averages."""
        return self.averages

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Go on with saved averages."""
        self.averages = {name: value.clone() for name, value in tensors.items()}


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().float().clone() for name, parameter in model.named_parameters()}
