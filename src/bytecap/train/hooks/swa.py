"""Stochastic weight averaging: the plain mean of the weights at some steps, in float32.

    mean <- mean + (weights - mean) / n,  n = 1, 2, …  at the first step from `start` on and every `every`-th after it

Source:  arXiv 1803.05407; openai/parameter-golf PR #219, every 200 steps while the rate was below half its peak.
Differs: summed in float32 on the training device, where the run summed in the parameters' type on the CPU. Steps are
         counted from `start`, not from the beginning of the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bytecap.core.settings import bounds
from bytecap.train.hooks.base import HookConfig, TrainingHook

_MEAN, _SAMPLES, _STEPS = "mean/", "samples", "steps"


@dataclass(frozen=True, kw_only=True)
class SWAConfig(HookConfig):
    """Which steps are averaged."""

    start: float = field(default=0.75, metadata=bounds(0.0, 1.0))
    """Fraction of the run after which it begins."""
    every: int = field(default=50, metadata=bounds(1, 10**9))
    """Steps from one sample to the next."""


class SWA(TrainingHook):
    """Keeps one mean for each parameter."""

    config_class = SWAConfig
    changes = ("average",)
    gives_weights = True

    def __init__(self, config: SWAConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.config = config
        self.means: dict[str, Tensor] = {}
        self.samples, self.steps = 0, 0

    @torch.no_grad()
    def after_step(self, model: nn.Module, progress: float) -> None:
        """Take a sample where one is due."""
        if progress < self.config.start:
            return
        if self.steps % self.config.every == 0:
            self._add(model)
        self.steps += 1

    def _add(self, model: nn.Module) -> None:
        self.samples += 1
        weights = {name: parameter.detach().float() for name, parameter in model.named_parameters()}
        if not self.means:
            self.means = {name: value.clone() for name, value in weights.items()}
            return
        targets = [weights[name] for name in self.means]
        torch._foreach_lerp_(list(self.means.values()), targets, 1.0 / self.samples)

    def at_end(self, model: nn.Module) -> dict[str, Tensor]:
        """The means; `start` is at most 1, so the last step at the latest has given a sample."""
        return self.means

    def state_tensors(self) -> dict[str, Tensor]:
        """The means and what was counted."""
        counts = {_SAMPLES: torch.tensor(self.samples), _STEPS: torch.tensor(self.steps)}
        return counts | {_MEAN + name: value for name, value in self.means.items()}

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore the means from a checkpoint."""
        self.samples, self.steps = int(tensors[_SAMPLES]), int(tensors[_STEPS])
        self.means = {n.removeprefix(_MEAN): value.clone() for n, value in tensors.items() if n.startswith(_MEAN)}
