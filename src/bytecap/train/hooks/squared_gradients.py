"""Mean squared gradients over the last part of the warmdown, one number for each matrix, summed on the device.

    s(W) = mean over steps of mean over elements of g², g the gradient of the whole batch before it is clipped

The finished checkpoint keeps them, and the scheme `pr332` then ranks by them instead of a calibration's.

Source:  openai/parameter-golf PR #332, over the last tenth of its warmdown.
Differs: nothing is read back from the device in a step, which slowed the last 250 steps of that run by a fifth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds
from bytecap.model.spec import ModelConfig
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.base import HookConfig, TrainingHook

if TYPE_CHECKING:
    from bytecap.train.loop import TrainingJob

NAME = "squared_gradients"
_SUM, _STEPS = "sum/", "steps"


@dataclass(frozen=True, kw_only=True)
class SquaredGradientsConfig(HookConfig):
    """Over which steps they are gathered."""

    share: float = field(default=0.1, metadata=bounds(1e-6, 1.0))
    """Last share of the warmdown."""

    def check(self, train: TrainConfig, model: ModelConfig) -> None:
        """Raise ConfigError where there is no warmdown."""
        if train.optimizer.warmdown == 0:
            raise ConfigError(
                "train.optimizer.warmdown is 0, and squared gradients are gathered over the last share of it; raise "
                f"warmdown, or leave the hook out with --set train.hooks.{NAME}=false"
            )


class SquaredGradients(TrainingHook):
    """Keeps one sum for each parameter of two axes."""

    config_class = SquaredGradientsConfig
    changes = ("statistics",)
    keeps_state = True

    def __init__(self, config: SquaredGradientsConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.config, self.start, self.steps = config, 1.0, 0
        matrices = {name: parameter for name, parameter in model.named_parameters() if parameter.ndim == 2}
        self.names, device = list(matrices), next(model.parameters()).device
        self.sizes_N = torch.tensor([parameter.numel() for parameter in matrices.values()], device=device)
        self.sums_N = torch.zeros(len(self.names), device=device)

    def prepare(self, job: TrainingJob) -> None:
        """Compute the step at which the warmdown's last share begins."""
        self.start = 1.0 - self.config.share * job.config.optimizer.warmdown

    @torch.no_grad()
    def after_backward(self, model: nn.Module, progress: float) -> None:
        """Add the mean squares of this step."""
        if progress < self.start:
            return
        parameters = dict(model.named_parameters())
        gradients = [_gradient(parameters[name]) for name in self.names]
        self.sums_N += torch.stack(torch._foreach_norm(gradients)).float().square() / self.sizes_N
        self.steps += 1

    def state_tensors(self) -> dict[str, Tensor]:
        """The sums and how many steps they are of."""
        sums = {_SUM + name: value.clone() for name, value in zip(self.names, self.sums_N, strict=True)}
        return {_STEPS: torch.tensor(self.steps)} | sums

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore the sums from a checkpoint."""
        self.steps = int(tensors[_STEPS])
        self.sums_N = torch.stack([tensors[_SUM + name] for name in self.names]).clone()


def mean_squares(state: Mapping[str, Tensor]) -> dict[str, float]:
    """The mean squared gradient of each matrix, from what a checkpoint keeps of the hook; empty without the hook."""
    steps = int(state.get(_STEPS, 0))
    return {n.removeprefix(_SUM): float(s) / steps for n, s in state.items() if n.startswith(_SUM)} if steps else {}


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
