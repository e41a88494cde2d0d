"""What a fit really costs: the loss of the model with fitted weights, on batches, next to what curvature predicts.

In:   a module, a forward function, batches; then fitted weights by name.
Out:  the mean increase of the loss and how sure it is.

Letters: N positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from bytecap.quant.outputs import ForwardFn, Positions, positions

CHECKED_POSITIONS = 2_048
"""Positions, at least, whose loss is looked at, where there are so many."""
MAX_KEPT = 1 << 25
"""Numbers of the original's outputs that are kept; of very many logits fewer batches are looked at."""
MIN_CERTAINTY, MIN_INCREASE = 2.0, 1e-5
"""Standard errors, and nats, that a mean must be above zero before anything follows from it."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Increase:
    """By how much the loss of a position grows on average, in nats."""

    mean: float
    error: float
    """Standard error of the mean, over batches; 0 for a divergence, which no labels blur."""

    @property
    def known(self) -> bool:
        """Return whether it is above zero for sure, and more than rounding of numbers makes."""
        return math.isfinite(self.mean) and self.mean > max(MIN_CERTAINTY * self.error, MIN_INCREASE)


class TrueLoss:
    """The increase of one model's loss on some batches, for any weights in place of its own."""

    def __init__(
        self, model: nn.Module, forward_fn: ForwardFn, batches: Sequence[Any], aliases: Mapping[str, str]
    ) -> None:
        """`aliases` maps further names of a weight to the name under which weights are passed."""
        self._model, self._forward_fn = model, forward_fn
        self._tensors = dict(model.named_parameters())
        self._names = {name: [name] for name in self._tensors}
        for name, known in aliases.items():
            if name in self._tensors and known in self._names:
                self._names[known].append(name)
        self._original: list[tuple[Any, Positions]] = []
        seen: set[bytes | None] = set()
        with torch.no_grad():
            for batch in batches:
                found = self._positions(batch)
                digest = found.digest()
                if digest is not None and digest in seen:
                    continue  # the same inputs again, which would only take time
                seen.add(digest)
                self._original.append((batch, found))
                if sum(before.values.numel() for _, before in self._original) >= MAX_KEPT:
                    break

    def __call__(self, weights: Mapping[str, Floats]) -> Increase:
        """KL(original || model with these weights) where the model gives outputs, else the increase of the given loss.

        Weights that are not named stay as they are; afterwards all are as before.
        """
        sums, counts, exact = [], [], True
        with torch.no_grad(), self._replaced(weights):
            for batch, before in self._original:
                apart_N = before.divergence(self._positions(batch))
                sums.append(float(apart_N.double().sum()))
                counts.append(len(apart_N))
                exact = exact and before.is_exact
        mean = sum(sums) / sum(counts)
        spread = sum((one - mean * count) ** 2 for one, count in zip(sums, counts, strict=True))
        error = math.sqrt(spread * len(sums) / max(len(sums) - 1, 1)) / sum(counts)
        return Increase(mean, 0.0 if exact else error)

    def _positions(self, batch: Any) -> Positions:
        """The model's outputs; what is drawn within is drawn alike each time."""
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            torch.manual_seed(0)
            return positions(self._forward_fn(self._model, batch))

    @contextmanager
    def _replaced(self, weights: Mapping[str, Floats]) -> Iterator[None]:
        places = [(self._tensors[place], w) for name, w in weights.items() for place in self._names.get(name, ())]
        kept = [tensor.detach().clone() for tensor, _ in places]
        try:
            for tensor, weight in places:
                tensor.copy_(torch.from_numpy(weight).reshape(tensor.shape).to(tensor))
            yield
        finally:
            for (tensor, _), before in zip(places, kept, strict=True):
                tensor.copy_(before)
