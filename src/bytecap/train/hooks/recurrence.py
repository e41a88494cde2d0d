"""Blocks are repeated only from `start` on: the repeats of the technique `depth_recurrence` are slow.

    progress < start: each block once;  from then on: in the order of the finished model

The parameters are the same in both.

Source:  openai/parameter-golf PR #1586, from 35 % of the training on; both graphs compiled before the clock, as there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelConfig
from bytecap.model.techniques.depth_recurrence import DepthRecurrence, DepthRecurrenceConfig
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.base import HookConfig, TrainingHook

TECHNIQUE = "depth_recurrence"


@dataclass(frozen=True, kw_only=True)
class RecurrenceConfig(HookConfig):
    """When the repeats begin."""

    start: float = field(default=0.35, metadata=bounds(1e-6, 1.0))
    """Fraction of the run after which blocks are repeated."""

    def check(self, train: TrainConfig, model: ModelConfig) -> None:
        """Raise ConfigError where the model repeats no blocks."""
        technique = model.techniques.get(TECHNIQUE)
        if not (isinstance(technique, DepthRecurrenceConfig) and technique.active):
            found = "is not among model.techniques" if technique is None else "has active = false"
            raise ConfigError(
                f"{TECHNIQUE} {found}, so there is nothing to switch on; give --set model.techniques.{TECHNIQUE}=true, "
                "or leave the hook out with --set train.hooks.recurrence=false"
            )


class Recurrence(TrainingHook):
    """Switches the technique; keeps nothing."""

    config_class = RecurrenceConfig
    changes = ("graph",)

    def __init__(self, config: RecurrenceConfig, model: nn.Module) -> None:
        super().__init__(config, model)
        self.config = config

    @property
    def switches(self) -> tuple[float, ...]:
        """The start."""
        return (self.config.start,)

    def before_step(self, model: nn.Module, progress: float) -> None:
        """Plain order before the start, repeats from then on."""
        assert isinstance(model, GPT)
        technique = model.techniques[TECHNIQUE]
        assert isinstance(technique, DepthRecurrence)
        technique.active = progress >= self.config.start
