"""Fake quantization: from `start` on the forward pass reads the weights as a published scheme will store them.

    straight-through: forward and backward at q(W), the update to W    noise: both at W + u, u uniform in ± half a step

q rounds to the scheme's grid of this very step (train/row_grid.py). Gradients are those at the weights that were read,
optimizers move the raw ones, and what is saved, averaged and scored are the raw ones alone.

Source:  straight-through as in openai/parameter-golf PR #65 (int6, from the first step) and #219; uniform noise, arXiv
         2104.08500 and 2004.07320.
Differs: train and export have one grid. #65 left the floor of the scale out in training, #219 trained int6 and stored
         int5; a run that is finished by another scheme is refused (run/recipe.py). The embedding is rounded too, where
         both runs rounded linear maps alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds
from bytecap.formats.plan import ScaleRule
from bytecap.train.hooks.base import HookConfig, TrainingHook
from bytecap.train.row_grid import round_to_grid, row_scales

if TYPE_CHECKING:
    from bytecap.train.loop import TrainingJob

NAME = "fake_quantization"
_STEPS = "steps"


@dataclass(frozen=True, kw_only=True)
class FakeQuantizationConfig(HookConfig):
    """From when on, and on which grid."""

    start: float = field(default=0.0, metadata=bounds(0.0, 1.0))
    """Fraction of the run after which it begins; 0 is the first step."""
    scheme: str = "int8"
    """The published scheme whose row scales and integers are the grid (`bytecap fit --help`)."""
    step_scale: float = field(default=1.0, metadata=bounds(2.0**-9, 2.0**6))
    """Factor of the scheme's steps, where a file under the cap will have wider ones than were published."""
    noise: bool = False
    """Uniform noise of one step in place of rounding."""


class FakeQuantization(TrainingHook):
    """Puts other weights in place before the forward pass and the raw ones back after the backward pass."""

    config_class = FakeQuantizationConfig
    changes = ("weights",)

    def __init__(self, config: FakeQuantizationConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.config, self.steps = config, 0
        self._columns = {name: value.size(-1) for name, value in model.named_parameters() if value.ndim == 2}
        self._groups: dict[tuple[ScaleRule, int], list[str]] = defaultdict(list)
        """Weights of one rule and width: a grid is one of rows, so they are rounded as one."""
        self._raw: list[tuple[list[Tensor], list[Tensor]]] = []
        """Parameters that hold what is read, and their raw weights."""

    def prepare(self, job: TrainingJob) -> None:
        """Keep the grid of each weight."""
        if not job.grids:
            raise ConfigError(
                f"train.hooks.{NAME}: scheme {self.config.scheme} quantizes no weight of this model, so nothing would "
                "change; choose another scheme, or lower artifact.keep_small"
            )
        for name, rule in job.grids.items():
            self._groups[rule, self._columns[name]].append(name)

    @torch.no_grad()
    def before_step(self, model: nn.Module, progress: float) -> None:
        """Keep the raw weights, and put what is read in their place."""
        if progress < self.config.start:
            return
        parameters = dict(model.named_parameters())
        device = next(iter(parameters.values())).device
        generator = torch.Generator(device).manual_seed(self.steps)
        for (rule, _), names in self._groups.items():
            weights = [parameters[name].data for name in names]
            rows = [weight.size(0) for weight in weights]
            raw_OI = torch.cat(weights)
            self._raw.append((weights, list(torch.split(raw_OI, rows))))
            torch._foreach_copy_(weights, list(torch.split(self._read(raw_OI, rule, generator), rows)))
        self.steps += 1

    def _read(self, raw_OI: Tensor, rule: ScaleRule, generator: torch.Generator) -> Tensor:
        if not self.config.noise:
            return round_to_grid(raw_OI, rule)
        noise_OI = torch.rand(raw_OI.shape, generator=generator, device=raw_OI.device) - 0.5
        return raw_OI + noise_OI * row_scales(raw_OI, rule)[:, None]

    @torch.no_grad()
    def after_backward(self, model: nn.Module, progress: float) -> None:
        """Put the raw weights back."""
        for weights, raw in self._raw:
            torch._foreach_copy_(weights, raw)
        self._raw.clear()

    def state_tensors(self) -> dict[str, Tensor]:
        """How many steps had it: the seed of the next one's noise."""
        return {_STEPS: torch.tensor(self.steps)}

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore the count from a checkpoint."""
        self.steps = int(tensors[_STEPS])
