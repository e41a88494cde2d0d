"""An exponential moving average of the weights, in float32.

    average <- decay * average + (1 - decay) * weights, after each step from `start` on

It begins as the weights are then: at `start` 0 those before the first step. With a `horizon` h, a fraction of the run,
a step that takes the fraction p of the run has decay exp(-p / h): the average then remembers the same share of a run of
300 steps and of one of 8,000.

Source:  Polyak averaging as in openai/parameter-golf PR #332 (decay 0.997 from the first step, exported at the end).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bytecap.core.settings import bounds
from bytecap.train.hooks.base import HookConfig, TrainingHook

_PROGRESS = "progress"
"""Key of the state that is no average."""


@dataclass(frozen=True, kw_only=True)
class EMAConfig(HookConfig):
    """How long the average remembers."""

    decay: float = field(default=0.997, metadata=bounds(0.0, 0.999999))
    """Share of the average that a step keeps."""
    start: float = field(default=0.0, metadata=bounds(0.0, 1.0))
    """Fraction of the run after which it begins."""
    horizon: float | None = field(default=None, metadata=bounds(1e-6, 1.0))
    """Fraction of the run after which a share of 1/e is left of the weights; stands in for `decay`. None: by steps."""


class EMA(TrainingHook):
    """Keeps one average for each parameter."""

    config_class = EMAConfig
    changes = ("average",)
    gives_weights = True

    def __init__(self, config: EMAConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.config = config
        self.averages: dict[str, Tensor] = _copied(model) if config.start == 0 else {}
        self.progress = 0.0

    @torch.no_grad()
    def after_step(self, model: nn.Module, progress: float) -> None:
        """Move the averages towards the weights."""
        spent, self.progress = progress - self.progress, progress
        if progress < self.config.start:
            return
        if not self.averages:
            self.averages = _copied(model)
            return
        weights = dict(model.named_parameters())
        targets = [weights[name].detach().float() for name in self.averages]
        torch._foreach_lerp_(list(self.averages.values()), targets, 1.0 - self._decay(spent))

    def _decay(self, spent: float) -> float:
        """What a step keeps of the average that took the fraction `spent` of the run."""
        return self.config.decay if self.config.horizon is None else math.exp(-spent / self.config.horizon)

    def at_end(self, model: nn.Module) -> dict[str, Tensor]:
        """The averages; `start` is at most 1, so the last step at the latest has begun them."""
        return self.averages

    def state_tensors(self) -> dict[str, Tensor]:
        """The averages, and with a horizon where in the run the last step was."""
        if self.config.horizon is None:
            return self.averages
        return {**self.averages, _PROGRESS: torch.tensor(self.progress, dtype=torch.float64)}

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore the averages from a checkpoint."""
        self.averages = {name: value.clone() for name, value in tensors.items() if name != _PROGRESS}
        self.progress = float(tensors[_PROGRESS]) if _PROGRESS in tensors else 0.0


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().float().clone() for name, parameter in model.named_parameters()}
