"""Plan noise: near the end of the run weights are read on the steps that our own fit would give them then.

    noise: forward and backward at W + u, u uniform in ± half a step     rounding: both at step · round(W / step)

Once, in the first step from `start` on, the curvature of the weights is measured on the training text and a plan is
made for the run's cap, one step for each weight; what that takes counts as training. Gradients are those at the weights
that were read, optimizers move the raw ones (straight-through), and the fit at the end measures and plans again. The
trellis of the file is not in the loop: its error is that of rounding with steps a little smaller.

Source:  uniform noise, arXiv 2104.08500 and 2004.07320; the published runs trained on grids of their own
         (fake_quantization.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelConfig
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.base import HookConfig, TrainingHook

if TYPE_CHECKING:
    from bytecap.train.loop import TrainingJob

NAME = "plan_noise"
_STEP, _SEED = "step/", "steps"


@dataclass(frozen=True, kw_only=True)
class PlanNoiseConfig(HookConfig):
    """From when on, and how weights are read."""

    start: float = field(default=0.85, metadata=bounds(0.0, 1.0))
    """Fraction of the run after which the plan is made."""
    rounding: bool = False
    """Rounding to the nearest step in place of noise."""
    share: float = field(default=1.0, metadata=bounds(1e-3, 10.0))
    """Factor of the plan's steps."""

    def check(self, train: TrainConfig, model: ModelConfig) -> None:
        """Raise ConfigError together with fake quantization, which would read the same weights on another grid."""
        if "fake_quantization" in train.hooks:
            raise ConfigError(
                "train.hooks.fake_quantization is on too, and weights can be read on one grid only; leave one out with "
                "--set train.hooks.fake_quantization=false"
            )


class PlanNoise(TrainingHook):
    """Puts other weights in place before the forward pass and the raw ones back after the backward pass."""

    config_class = PlanNoiseConfig
    changes = ("weights",)

    def __init__(self, config: PlanNoiseConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.config, self.seed = config, 0
        self.steps: dict[str, Tensor] = {}
        """The step of every weight of a tensor that the plan rounds, by parameter; empty before the start."""
        self._raw: dict[str, Tensor] = {}

    def prepare(self, job: TrainingJob) -> None:
        """Keep what a plan is made with."""
        if job.plan_steps is None:
            raise ConfigError(f"train.hooks.{NAME}: this run has no cap to plan for; leave the hook out")
        self._plan_steps = job.plan_steps

    @torch.no_grad()
    def before_step(self, model: nn.Module, progress: float) -> None:
        """Make the plan once, keep the raw weights, and put what is read in their place."""
        if progress < self.config.start:
            return
        assert isinstance(model, GPT)
        parameters = dict(model.named_parameters())
        if not self.steps:
            found = self._plan_steps(model)
            self.steps = {n: (step * self.config.share).to(parameters[n].device) for n, step in found.items()}
        generator = torch.Generator(next(iter(parameters.values())).device).manual_seed(self.seed)
        for name, step in sorted(self.steps.items()):  # a continued run, too, draws the noise in this order
            weight = parameters[name].data
            self._raw[name] = weight.clone()
            weight.copy_(self._read(weight, step, generator))
        self.seed += 1

    def _read(self, raw: Tensor, step: Tensor, generator: torch.Generator) -> Tensor:
        if self.config.rounding:
            return (raw / step).round_().mul_(step)
        noise = torch.rand(raw.shape, generator=generator, device=raw.device).sub_(0.5)
        return torch.addcmul(raw, noise, step)

    @torch.no_grad()
    def after_backward(self, model: nn.Module, progress: float) -> None:
        """Put the raw weights back."""
        for name, parameter in model.named_parameters():
            if name in self._raw:
                parameter.data.copy_(self._raw[name])
        self._raw.clear()

    def state_tensors(self) -> dict[str, Tensor]:
        """The plan, and how many steps had it: the seed of the next one's noise."""
        return {_SEED: torch.tensor(self.seed)} | {_STEP + name: step for name, step in self.steps.items()}

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore the plan from a checkpoint."""
        self.seed = int(tensors[_SEED])
        self.steps = {n.removeprefix(_STEP): step.clone() for n, step in tensors.items() if n.startswith(_STEP)}
