"""Continuing a text: one token after the other, drawn from the model.

In:   a model and the ids so far.
Out:  more ids.
"""

from __future__ import annotations

import torch

from bytecap.core.errors import NumericsError
from bytecap.model.cache import Cache
from bytecap.model.gpt import GPT

MIN_TEMPERATURE = 1e-3
"""Up to which the likeliest token is taken; far below it quotients overflow."""


@torch.no_grad()
def sample(
    model: GPT, prompt: list[int], *, tokens: int, context: int, temperature: float, seed: int, stop: int
) -> list[int]:
    """Up to `tokens` ids after `prompt`; each position sees `context`; `stop` is BOS: it begins `prompt`, ends early.

    The text runs through a cache, so that each token costs one position. NumericsError where the model's logits are no
    numbers.
    """
    device = model.embedding.device
    random, cache, drawn = torch.Generator().manual_seed(seed), Cache(context), list[int]()
    waiting_BT = torch.tensor([prompt], device=device)
    for _ in range(tokens):
        for chunk_BT in torch.split(waiting_BT, context, dim=1):  # all but the first time one token
            hidden_D = model.hidden(chunk_BT, stop, cache=cache)[0, -1]
        logits_V = model.logits(hidden_D).cpu()
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
        waiting_BT = torch.tensor([[choice]], device=device)
    return drawn
