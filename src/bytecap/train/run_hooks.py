"""All training hooks of a run, each place in a step as one call.

In:   a TrainingJob and its model.
Out:  hooks that are ready, called in the order of their names; their states and weights, by name.

Letters: B sequences, T positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bytecap.model.mean_loss import MixtureWeights
from bytecap.train.hooks import HOOKS
from bytecap.train.hooks.base import TrainingHook

if TYPE_CHECKING:
    from bytecap.train.loop import TrainingJob


class RunHooks:
    """The hooks that a run has switched on; places in a step as in TrainingHook."""

    def __init__(self, job: TrainingJob, model: nn.Module) -> None:
        self._model = model
        configs = job.config.hooks
        self._by_name: dict[str, TrainingHook] = {name: HOOKS.find(name)(its, model) for name, its in configs.items()}
        for hook in self._by_name.values():
            hook.prepare(job)

    def before_step(self, progress: float, *, ahead: bool = False) -> None:
        """Make the model what a step at `progress` needs; `ahead` of the run only in what decides its graph."""
        for hook in self._by_name.values():
            if hook.switches or not ahead:
                hook.before_step(self._model, progress)

    def rows(self, rows_BT: Tensor, progress: float) -> Tensor:
        """The rows of a step out of a part of its batch."""
        for hook in self._by_name.values():
            rows_BT = hook.rows(rows_BT, progress)
        return rows_BT

    def mixture(self, starts: Sequence[int], progress: float) -> MixtureWeights | None:
        """What is mixed into the model's distribution at the targets of rows that begin there; of one hook at most."""
        found = [hook.mixture(starts, progress) for hook in self._by_name.values()]
        return next((weights for weights in found if weights is not None), None)

    def after_backward(self, progress: float) -> None:
        """Every parameter has its gradient."""
        for hook in self._by_name.values():
            hook.after_backward(self._model, progress)

    def after_step(self, progress: float) -> None:
        """The optimizers have moved the weights."""
        for hook in self._by_name.values():
            hook.after_step(self._model, progress)

    def phases(self, progress: float) -> list[float]:
        """Where the phases with a graph of their own begin that are going on at `progress` or still to come."""
        starts = sorted({0.0, *(start for hook in self._by_name.values() for start in hook.switches)})
        return [start for start, end in zip(starts, [*starts[1:], math.inf], strict=True) if end > progress]

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """At the end: the weights that hooks give, by hook and parameter."""
        given = {name: hook.at_end(self._model) for name, hook in self._by_name.items()}
        return {name: weights for name, weights in given.items() if weights}

    def states(self, *, finished: bool = False) -> dict[str, dict[str, Tensor]]:
        """What a run needs to resume, or what a finished checkpoint keeps."""
        return {name: hook.state_tensors() for name, hook in self._by_name.items() if hook.keeps_state or not finished}

    def load_states(self, states: Mapping[str, dict[str, Tensor]], device: torch.device) -> None:
        """Restore what `states` gave for an unfinished run."""
        for name, hook in self._by_name.items():
            hook.load_state_tensors({key: value.to(device) for key, value in states.get(name, {}).items()})
