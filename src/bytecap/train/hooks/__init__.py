"""The training hooks there are: the files of this folder. A file is read only when a run uses it."""

from __future__ import annotations

from bytecap.core.parts import Parts
from bytecap.train.hooks.base import HookConfig, TrainingHook

HOOKS = Parts("training hook", __name__, __path__, TrainingHook)


def hook_config(name: str) -> type[HookConfig]:
    """The settings of the training hook `name`; ConfigError with the nearest name when there is none."""
    return HOOKS.find(name).config_class
