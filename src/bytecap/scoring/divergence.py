"""How far a fitted model has moved from the original: Kullback–Leibler divergence of its next-token distributions.

In:   two models and windows of tokens.
Out:  mean KL(original || fitted) in nats per token and the increase of the loss, each with a 95 % interval.

Divergence is the figure of merit of a fit: it agrees with the increase of the loss in expectation and varies several
times less, because the text's own surprise cancels. Windows are the units of the interval.

Letters: B windows, T positions, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from bytecap.core.errors import DataError
from bytecap.model.gpt import GPT

_NORMAL_95 = 1.96
MAX_LOGITS = 1 << 20
"""Logits of a model that are compared at once."""

LogitsFn: TypeAlias = Callable[[Tensor], Tensor]
"""From tokens (B, T) to logits (B, T, V) of what follows each of them."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """All in nats per token; intervals are half widths at 95 %."""

    kl: float
    kl_interval: float
    loss_before: float
    loss_after: float
    increase_interval: float
    tokens: int

    @property
    def increase(self) -> float:
        """Loss after minus loss before."""
        return self.loss_after - self.loss_before

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return dataclasses.asdict(self)


def gpt_logits(model: GPT, bos: int) -> LogitsFn:
    """What one of our own models says, documents beginning at `bos`."""
    return lambda tokens_BT: model.logits(model.hidden(tokens_BT, bos))


@torch.no_grad()
def divergence(original: LogitsFn, fitted: LogitsFn, windows: Iterable[Tensor]) -> Divergence:
    """Over every target of (B, T + 1) windows; DataError when there is none."""
    means: tuple[list[Tensor], ...] = ([], [], [])
    tokens = 0
    for rows_BT in windows:
        tokens_BT, target_BT = rows_BT[:, :-1], rows_BT[:, 1:]
        for first_TV, second_TV, target_T in zip(original(tokens_BT), fitted(tokens_BT), target_BT, strict=True):
            found = [_compared(*part) for part in _parts(first_TV, second_TV, target_T)]
            for mean, values in zip(means, zip(*found, strict=True), strict=True):
                mean.append(torch.cat(values).mean())
        tokens += target_BT.numel()
    if tokens == 0:
        raise DataError("there is no text to compare the models on; at least one window of tokens is needed")
    kl_B, before_B, after_B = (torch.stack(mean).double().cpu() for mean in means)
    return Divergence(
        kl=float(kl_B.mean()), kl_interval=_interval(kl_B), loss_before=float(before_B.mean()),
        loss_after=float(after_B.mean()), increase_interval=_interval(after_B - before_B), tokens=tokens,
    )  # fmt: skip


def _parts(first_TV: Tensor, second_TV: Tensor, target_T: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Some positions at a time: the logits of a large vocabulary are not to be held several times over."""
    each = max(1, MAX_LOGITS // first_TV.size(-1))
    return zip(*(torch.split(one, each) for one in (first_TV, second_TV, target_T)), strict=True)


def _compared(first_TV: Tensor, second_TV: Tensor, target_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """KL divergence and both losses at each position."""
    first_TV, second_TV = first_TV.log_softmax(dim=-1), second_TV.log_softmax(dim=-1)
    before_T, after_T = (-each.gather(-1, target_T[:, None])[:, 0] for each in (first_TV, second_TV))
    return second_TV.neg_().add_(first_TV).mul_(first_TV.exp_()).sum(dim=-1), before_T, after_T


def _interval(values_B: Tensor) -> float:
    return _NORMAL_95 * float(values_B.std()) / math.sqrt(values_B.numel()) if values_B.numel() > 1 else math.inf
