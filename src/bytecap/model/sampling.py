"""Continuing a text: one token after the other, drawn from the model.

In:   what says which token may come next, the ids so far, the settings of sampling.
Out:  more ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypeAlias

import torch
from torch import Tensor

from bytecap.core.errors import ConfigError, NumericsError
from bytecap.model.cache import Cache
from bytecap.model.gpt import GPT
from bytecap.model.spec import MAX_SEED

MIN_TEMPERATURE = 1e-3
"""Up to which the likeliest token is taken; far below it quotients overflow."""
MAX_TOKENS = 1_000_000
"""Most tokens of one text: hours of work, all of it held in memory."""

NextLogits: TypeAlias = Callable[[Tensor], Tensor]
"""From the tokens (T,) that a text goes on with to logits (V,) of the one after them; it remembers what came before."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a text is continued."""

    tokens: int = 200
    """Most tokens that are drawn."""
    temperature: float = 0.8
    """0 takes the likeliest token, 1 draws as the model says."""
    seed: int = 0
    """The same seed writes the same text."""

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers that no text can be drawn with, and for what is none."""
        for name, kind in (("tokens", Integral), ("temperature", Real), ("seed", Integral)):
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ConfigError(f"{name} is {value!r}; it must be a {'whole ' if kind is Integral else ''}number")
        if not 0 <= self.tokens <= MAX_TOKENS:
            raise ConfigError(f"{self.tokens:,} tokens cannot be generated; give 0 to {MAX_TOKENS:,}")
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"the temperature is {self.temperature:g}; it must be a finite number, 0 or more")
        if not 0 <= self.seed < MAX_SEED:
            raise ConfigError(f"the seed is {self.seed}; it must lie between 0 and {MAX_SEED:,}")


def model_logits(model: GPT, *, context: int, bos: int) -> NextLogits:
    """What a model itself says; each position sees `context`. The text runs through a cache, each token once."""
    cache = Cache(context)

    def next_logits(tokens_T: Tensor) -> Tensor:
        for chunk_BT in torch.split(tokens_T[None].to(model.embedding.device), context, dim=1):
            hidden_D = model.hidden(chunk_BT, bos, cache=cache)[0, -1]
        return model.logits(hidden_D)

    return next_logits


@torch.no_grad()
def sample(next_logits: NextLogits, prompt: list[int], sampling: Sampling, *, stop: int) -> list[int]:
    """The ids that continue `prompt`, at most `sampling.tokens`; they end before the first `stop`, usually BOS.

    NumericsError where the logits are no numbers.
    """
    random, drawn = torch.Generator().manual_seed(sampling.seed), list[int]()
    waiting_T = torch.tensor(prompt)
    for _ in range(sampling.tokens):
        logits_V = next_logits(waiting_T).cpu()
        if not torch.isfinite(logits_V).all():
            raise NumericsError(
                "the model gives logits that are no finite numbers: its weights overflow; make the file again from a "
                "checkpoint whose score is finite"
            )
        if sampling.temperature > MIN_TEMPERATURE:
            choice = int(torch.multinomial(torch.softmax(logits_V / sampling.temperature, dim=-1), 1, generator=random))
        else:
            choice = int(logits_V.argmax())
        if choice == stop:
            break
        drawn.append(choice)
        waiting_T = torch.tensor([choice])
    return drawn
