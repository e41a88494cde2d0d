"""A model of ours as a Predictor that is scored in windows: each chunk is read with as much context as fits before it.

In:   a GPT, its context.
Out:  a Predictor.

Letters: T positions of a chunk, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bytecap.core.device import autocast
from bytecap.model.gpt import GPT


class Windowed:
    """What scoring/evaluate.py computes, asked chunk by chunk; nothing is learned."""

    def __init__(self, model: GPT, *, bos: int, context: int) -> None:
        self._model, self._bos, self._context = model.eval(), bos, context
        self._past_T = torch.zeros(0, dtype=torch.int64)
        self.vocab_size = model.spec.vocab_size

    def reset(self) -> None:
        """Forget everything."""
        self._past_T = self._past_T[:0]

    @torch.no_grad()
    def log_probs(self, tokens_T: Tensor) -> Tensor:
        """Natural log probabilities of the token after each of these, (T, V)."""
        window_T = torch.cat([self._past_T, tokens_T])[-max(self._context, tokens_T.numel()) :]
        self._past_T = window_T
        device = next(self._model.parameters()).device
        with autocast(device):
            hidden_1TD = self._model.hidden(window_T[None].to(device), self._bos)
            logits_TV = self._model.logits(hidden_1TD[0, -tokens_T.numel() :])
        return logits_TV.float().log_softmax(dim=-1).cpu()

    def learn(self, scored: Any) -> None:
        """Nothing is learned."""
