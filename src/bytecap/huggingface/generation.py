"""A Hugging Face model and a prompt to text, token by token.

In:   an Opened model, a prompt.
Out:  text.

Letters: T positions, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bytecap.artifact.generate import refuse_numbers
from bytecap.core.errors import ConfigError
from bytecap.huggingface.model import CausalModel
from bytecap.huggingface.scored import Opened
from bytecap.model.sampling import sample

_NO_STOP = -1


def continue_prompt(
    opened: Opened, prompt: str = "", *, tokens: int = 200, temperature: float = 0.8, seed: int = 0
) -> str:
    """Continue `prompt` by at most `tokens` tokens, as `bytecap.generate` does with our own models.

    ConfigError for numbers that cannot be, and for an empty prompt where no token begins a text.
    """
    refuse_numbers(tokens, temperature, seed)
    tokenizer = opened.tokenizer
    ids = [*([] if tokenizer.bos is None else [tokenizer.bos]), *tokenizer.encode(prompt)]
    if not ids:
        raise ConfigError("the tokenizer has no token that begins a text; give a prompt")
    begin = 0 if tokenizer.bos is None else 1
    end = _NO_STOP if tokenizer.end is None else tokenizer.end
    says = NextToken(opened.model, opened.context)
    drawn = sample(says, ids, tokens=tokens, temperature=temperature, seed=seed, stop=end)
    return tokenizer.decode(ids[begin:] + drawn)


class NextToken:
    """Logits of what follows; the last `context` tokens are run again for each, so any architecture will do."""

    def __init__(self, model: CausalModel, context: int) -> None:
        self._model, self._context = model, context
        self._ids: list[int] = []

    def __call__(self, tokens_T: Tensor) -> Tensor:
        """Logits (V,) of the token after all that were given so far."""
        self._ids += tokens_T.tolist()
        device = next(self._model.module.parameters()).device
        return self._model.logits(torch.tensor([self._ids[-self._context :]], device=device))[0, -1]
