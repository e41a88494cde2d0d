"""Continuing a text: one token after the other, drawn from the model.

In:   what says which token may come next, and the ids so far.
Out:  more ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from bytecap.core.errors import NumericsError
from bytecap.model.cache import Cache
from bytecap.model.gpt import GPT

MIN_TEMPERATURE = 1e-3
"""Up to which the likeliest token is taken; far below it quotients overflow."""


NextLogits: TypeAlias = Callable[[Tensor], Tensor]
"""From the tokens (T,) that a text goes on with to logits (V,) of the one after them; it remembers what came before."""


def model_logits(model: GPT, *, context: int, bos: int) -> NextLogits:
    """What a model itself says; each position sees `context`. The text runs through a cache, each token once."""
    cache = Cache(context)

    def next_logits(tokens_T: Tensor) -> Tensor:
        for chunk_BT in torch.split(tokens_T[None].to(model.embedding.device), context, dim=1):
            hidden_D = model.hidden(chunk_BT, bos, cache=cache)[0, -1]
        return model.logits(hidden_D)

    return next_logits


@torch.no_grad()
def sample(
    next_logits: NextLogits, prompt: list[int], *, tokens: int, temperature: float, seed: int, stop: int
) -> list[int]:
    """Up to `tokens` ids after `prompt`; `stop` is BOS: it begins `prompt`, ends early.

    NumericsError where the logits are no numbers.
    """
    random, drawn = torch.Generator().manual_seed(seed), list[int]()
    waiting_T = torch.tensor(prompt)
    for _ in range(tokens):
        logits_V = next_logits(waiting_T).cpu()
        if not torch.isfinite(logits_V).all():
            raise NumericsError(
                "the model gives logits that are no finite numbers: its weights overflow; make the file again from a "
                "checkpoint whose score is finite"
            )
        if temperature > MIN_TEMPERATURE:
            choice = int(torch.multinomial(torch.softmax(logits_V / temperature, dim=-1), 1, generator=random))
        else:
            choice = int(logits_V.argmax())
        if choice == stop:
            break
        drawn.append(choice)
        waiting_T = torch.tensor([choice])
    return drawn
