"""Unquantized weights learn to make up for those that are rounded already.

In:   a model, endless batches, a forward function; then one rounded weight after another.
Out:  new values for the unquantized ones, trained to keep the original's distributions.

Second-order rounding takes up errors within a weight. What one weight's error does to the next layers, it leaves: here
the later weights and all vectors are trained against it, KL(original || student) on text, before they are rounded
themselves. The allocation stays as it was.

Source:  rounding in turns with the rest trained: INQ, arXiv 1702.03044. Differs: one whole weight at a time, at the
         steps that curvature gives, and towards the original's distributions instead of the labels.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bytecap.core.errors import ConfigError
from bytecap.quant.outputs import ForwardFn, Positions, positions

RATE = 0.06
"""Learning rate of Adam as a share of the error that rounding will make in the weight."""
BETAS = (0.9, 0.95)
WARMUP_STEPS = 10
HELD_OUT_BATCHES = 8
"""Batches that are not trained on, to compare the distilled model with the one that was only rounded."""

Floats = npt.NDArray[np.float32]


class Distiller:
    """A copy of a model in which one weight after another is fixed."""

    def __init__(
        self, model: nn.Module, names: Collection[str], batches: Iterator[Any], forward_fn: ForwardFn, *, steps: int
    ) -> None:
        """`names` may change, all else stays; `steps` batches are trained on behind each fixed weight.

        The first batches are held out, to tell afterwards whether distillation helped.
        """
        self._model, self._batches, self._forward_fn, self._steps = model.eval(), batches, forward_fn, steps
        self._held_out = list(itertools.islice(batches, HELD_OUT_BATCHES))
        self._student = copy.deepcopy(model).requires_grad_(False)
        self._unquantized = {n: p.requires_grad_(True) for n, p in self._student.named_parameters() if n in names}

    def __call__(self, name: str, value: Floats, errors: Mapping[str, float]) -> dict[str, Floats]:
        """Fix `name` at `value`; return the values that all unquantized parameters have then.

        `errors` are the root mean square errors that rounding will make in the unquantized weights; other parameters
        move at the rate of the median weight. The last one that is fixed leaves vectors alone, and nothing is trained.
        """
        fixed = self._unquantized.pop(name).requires_grad_(False)
        fixed.copy_(torch.from_numpy(value).to(fixed))
        if errors:
            self._train(errors)
        return {name: parameter.detach().float().cpu().numpy().copy() for name, parameter in self._unquantized.items()}

    def divergence(self, weights: Mapping[str, Floats]) -> float:
        """Mean KL(original || model with these weights) in nats, on the held-out batches.

        The student has these weights afterwards.
        """
        load(self._student, weights)
        return mean_divergence(self._model, self._student, self._held_out, self._forward_fn)

    def _train(self, errors: Mapping[str, float]) -> None:
        usual = float(np.median(list(errors.values())))
        groups = [{"params": [p], "lr": RATE * errors.get(name, usual)} for name, p in self._unquantized.items()]
        optimizer = torch.optim.Adam(groups, betas=BETAS)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / WARMUP_STEPS, 1.0) * (1 - step / self._steps)
        )
        for _ in range(self._steps):
            batch = next(self._batches)
            with torch.no_grad():
                wanted = self._positions(self._model, batch)
            loss = wanted.divergence(self._positions(self._student, batch)).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()

    def _positions(self, model: nn.Module, batch: Any) -> Positions:
        found = positions(self._forward_fn(model, batch))
        if not found.is_exact:
            raise ConfigError(
                "distillation compares outputs: loss(model, batch) must return (logits, labels), or (outputs, None) of "
                "real numbers, not the loss of each position; or set quant.distill_steps to 0"
            )
        return found


def load(model: nn.Module, weights: Mapping[str, Floats]) -> None:
    """Give parameters the values that `weights` has for them."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.copy_(torch.from_numpy(weights[name]).reshape(parameter.shape).to(parameter))


@torch.no_grad()
def mean_divergence(original: nn.Module, other: nn.Module, batches: Iterable[Any], forward_fn: ForwardFn) -> float:
    """Mean KL(original || other) in nats per position; where there are losses alone, by how much theirs is larger."""
    total, count = 0.0, 0
    for batch in batches:
        apart_N = positions(forward_fn(original, batch)).divergence(positions(forward_fn(other, batch)))
        total, count = total + float(apart_N.double().sum()), count + len(apart_N)
    return total / max(count, 1)
