"""What a training hook is: code that runs after each step and at the end, with settings and a state of its own.

A training hook is one file in this folder: a frozen dataclass of settings, and one subclass of TrainingHook that names
it. The file's name is the hook's name everywhere: in a recipe (`[train.hooks.ema]`), in checkpoints (`hooks/ema/…`), on
the command line. Nothing else lists it (docs/extending.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class HookConfig:
    """The settings of a training hook; one without any keeps this class empty."""


class TrainingHook:
    """Base of all training hooks: each method does nothing unless overridden."""

    config_class: ClassVar[type[HookConfig]] = HookConfig
    """The settings."""
    gives_weights: ClassVar[bool] = False
    """True when `at_end` gives weights, which `train.exported_weights` may name."""

    def __init__(self, config: HookConfig, model: nn.Module) -> None:
        pass

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Called when the optimizers have moved the weights; `progress` is 0 in the first step and 1 in the last."""

    def at_end(self, model: nn.Module) -> dict[str, Tensor]:
        """Weights to be kept beside the last ones in the finished checkpoint, by parameter."""
        return {}

    def state_tensors(self) -> dict[str, Tensor]:
        """All that a run needs to go on after a checkpoint as if it had not stopped."""
        return {}

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_tensors` gave, on this machine's device."""
