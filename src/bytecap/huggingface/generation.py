"""A Hugging Face model and a prompt to text, token by token.

In:   an Opened model, a prompt.
Out:  text.

Letters: T positions, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bytecap.artifact.generate import DEFAULT_SAMPLING, continued
from bytecap.core.errors import ConfigError
from bytecap.core.progress import Progress, Silent
from bytecap.huggingface.model import CausalModel
from bytecap.huggingface.scored import Opened
from bytecap.model.sampling import Sampling, sample

_NO_STOP = -1
CACHES = ("cache", "past_key_values", "cache_params", "state")
"""What models of transformers call the past that they give out and take back: from version 5.24 on, before it attention
and Mamba, RWKV."""
CLOSE = 1e-3
"""Most that logits may differ with the cache and without, over their size; two tokens nearer than that are asked again
without the cache, so that the likeliest one is the same."""


def continue_prompt(
    opened: Opened,
    prompt: str = "",
    sampling: Sampling = DEFAULT_SAMPLING,
    *,
    progress: Progress | None = None,
) -> str:
    """Continue `prompt` as `bytecap.generate` does with our own models.

    Raises ConfigError for an empty prompt where the tokenizer has no token that begins a text.
    """
    tokenizer = opened.tokenizer
    ids = [*([] if tokenizer.bos is None else [tokenizer.bos]), *tokenizer.encode(prompt)]
    if not ids:
        raise ConfigError("the tokenizer has no token that begins a text; give a prompt")
    begin = 0 if tokenizer.bos is None else 1
    end = _NO_STOP if tokenizer.end is None else tokenizer.end
    says = NextToken(opened.model, opened.context, progress or Silent())
    drawn = sample(says, ids, sampling, stop=end)
    return continued(prompt, ids[begin:], drawn, tokenizer.decode)


class NextToken:
    """Logits of what follows, by the model's own cache of the past as far as its context goes.

    Beyond the context the last `context` tokens are run again for each token, and so they are where a model has no
    cache or one that does not give the logits of the whole text, which is compared once and noted.
    """

    def __init__(self, model: CausalModel, context: int, progress: Progress) -> None:
        self._model, self._context, self._progress = model, context, progress
        self._ids: list[int] = []
        self._past: dict[str, Any] = {}
        self.caches = True
        """True while the cache is used."""
        self._compared = False

    def __call__(self, tokens_T: Tensor) -> Tensor:
        """Logits (V,) of the token after all that were given so far."""
        going_on = bool(self._ids)
        self._ids += tokens_T.tolist()
        if not self.caches or len(self._ids) > self._context:
            return self._without_cache()
        logits_V = self._from_cache(tokens_T)
        if logits_V is None:
            return self._without_cache()
        best, second = logits_V.topk(2).values.tolist() if logits_V.numel() > 1 else (1.0, 0.0)
        if going_on and not self._compared:
            self._compared = True
            return self._checked(logits_V)
        return logits_V if best - second > CLOSE * float(logits_V.std()) else self._without_cache()

    def _from_cache(self, tokens_T: Tensor) -> Tensor | None:
        """Logits (V,) by the cache, which is then that of all tokens so far; None where there is none."""
        device = next(self._model.module.parameters()).device
        try:
            found = self._model.module(input_ids=tokens_T[None].to(device), use_cache=True, **self._past)
        except Exception as error:  # whatever a library of so many authors raises
            self._give_up(f"cannot continue from its cache ({type(error).__name__})")
            return None
        given = next((name for name in CACHES if name in list(found)), None)
        self._past = {} if given is None else {given: found[given]}
        if not self._past:
            self._give_up("has no cache")
        logits_V: Tensor = found.logits[0, -1]
        return logits_V.float()

    def _without_cache(self) -> Tensor:
        """Logits (V,) after the last tokens, run again from their beginning."""
        device = next(self._model.module.parameters()).device
        return self._model.logits(torch.tensor([self._ids[-self._context :]], device=device))[0, -1]

    def _checked(self, cached_V: Tensor) -> Tensor:
        """The logits of the whole text; the cache is given up where it gives different ones."""
        whole_V = self._without_cache()
        if not float((cached_V - whole_V).abs().max()) <= CLOSE * float(whole_V.std()):
            self._give_up("gives other logits from its cache than from the whole text")
        return whole_V

    def _give_up(self, why: str) -> None:
        self.caches, self._past = False, {}
        self._progress.note(f"{self._model.facts.architecture} {why}, so the whole text is run for each token")
