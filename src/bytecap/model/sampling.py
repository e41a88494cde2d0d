"""Continuing a text: one token after the other, drawn from the model.

In:   a model and the ids so far.
Out:  more ids.
"""

from __future__ import annotations

import torch

from bytecap.core.errors import NumericsError
from bytecap.model.gpt import GPT

MIN_TEMPERATURE = 1e-3
"""Up to which the likeliest token is taken; far below it quotients overflow."""


@torch.no_grad()
def sample(
    model: GPT, prompt: list[int], *, tokens: int, context: int, temperature: float, seed: int, stop: int
) -> list[int]:
    """Up to `tokens` ids after `prompt`, seeing the last `context`; `stop` is BOS: it begins `prompt`, ends early.

    NumericsError where the model's logits are no numbers.
    """
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed)
    ids = list(prompt)
    for _ in range(tokens):
        window_BT = torch.tensor([ids[-context:]], device=device)
        logits_V = model.logits(model.hidden(window_BT, stop)[0, -1]).cpu()
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
        ids.append(choice)
    return ids[len(prompt) :]
