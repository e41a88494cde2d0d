"""What every planted cheat is made with: where it works, how strongly, and a predictor around an honest one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bytecap.auditing.subject import Subject

Rng = np.random.Generator


@dataclass(frozen=True)
class Planted:
    """A subject with a cheat in it."""

    subject: Subject
    caught_by: tuple[str, ...]
    """Rules of which at least one must be found broken."""
    drawn: str
    """Place, offset and strength."""


@dataclass(frozen=True)
class Places:
    """The positions of a stream at which a cheat works: every `period`-th, from `phase` on."""

    period: int
    phase: int

    @classmethod
    def draw(cls, rng: Rng) -> Places:
        """From every position to one in sixteen."""
        period = int(rng.choice([1, 2, 4, 8, 16]))
        return cls(period, int(rng.integers(period)))

    def among(self, begin: int, count: int) -> Tensor:
        """True where it works, of `count` positions from `begin` on."""
        return torch.arange(begin, begin + count) % self.period == self.phase


class Wrapped:
    """A Predictor around an honest one: it passes everything on, and knows where it is in the stream."""

    def __init__(self, honest: Any) -> None:
        self.honest, self.vocab_size, self.at = honest, honest.vocab_size, 0
        self.past_N = torch.zeros(0, dtype=torch.int64)

    def reset(self) -> None:
        """Passed on."""
        self.honest.reset()
        self.at, self.past_N = 0, self.past_N[:0]

    def log_probs(self, tokens_T: Tensor) -> Tensor:
        """What the honest one says, changed."""
        before = self.at
        self.past_N = torch.cat([self.past_N, tokens_T])
        self.at += len(tokens_T)
        return self.changed(self.honest.log_probs(tokens_T), tokens_T, before)

    def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
        """The cheat; `before` tokens were read earlier."""
        return log_probs_TV

    def learn(self, scored: Any) -> None:
        """Passed on."""
        self.honest.learn(scored)


def with_model(subject: Subject, wrap: Callable[[Any], Any]) -> Subject:
    """The subject with another model around its own."""
    model = subject.model
    assert model is not None
    honest = model.make
    return dataclasses.replace(subject, model=dataclasses.replace(model, make=lambda: wrap(honest())))


def draw_strength(rng: Rng, low: float = 1e-3, high: float = 0.5) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
