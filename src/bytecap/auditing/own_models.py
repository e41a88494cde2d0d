"""A model of ours as probes ask it: with the plan, and the Predictor, of the strategy by which it is scored.

In:   a GPT, how it is scored.
Out:  a ScoredModel.

Letters: N tokens of a stream, T positions of a chunk, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from bytecap.auditing.subject import Ids, ScoredModel
from bytecap.core.device import autocast
from bytecap.model.gpt import GPT
from bytecap.scoring.adaptive import AdaptiveScoring
from bytecap.scoring.engine import EnginePredictor, chunk_threads
from bytecap.scoring.evaluate import CANONICAL, Order
from bytecap.scoring.ledger import Scored
from bytecap.scoring.past import STREAMING, WINDOWS
from bytecap.scoring.predictor import Predictor
from bytecap.scoring.streaming import streaming_reach
from bytecap.scoring.windows import Window, windows


def scored_model(
    load_model: Callable[[], GPT],
    bos: int,
    how: AdaptiveScoring,
    text_V: Sequence[str] = (),
    loaded: GPT | None = None,
) -> ScoredModel:
    """A model as these settings score it: in windows, or by the engine where it streams or adapts.

    `text_V` is the text of each token, where it is known; `loaded` the model, where it has been loaded before.
    """
    first, context = loaded or load_model(), how.context
    vocab_size, across = first.spec.vocab_size, first.spec.across_documents
    threads = chunk_threads(first)
    if not how.adapt and how.strategy == WINDOWS:
        return ScoredModel(
            make=lambda: Windowed(load_model(), bos=bos, context=context), vocab_size=vocab_size, bos=bos,
            plan=windows_plan(context, min(context, how.stride)), context=context, across_documents=across,
            restarts=not across, threads=threads,
        )  # fmt: skip

    def make() -> Predictor:
        return EnginePredictor(how.engine(load_model(), bos, text_V))

    like = how.engine(first, bos)
    reach = streaming_reach(context, min(how.stride, context))
    return ScoredModel(
        make=make, vocab_size=vocab_size, bos=bos, plan=documents_plan(like.chunk, how.order),
        across_documents=like.in_order, restarts=not like.in_order,
        # windows that are shown less than a chunk see less before it: scoring/past.py
        context=reach if how.strategy == STREAMING else max(1, context - like.chunk),
        published_order="" if how.order == CANONICAL else how.order, threads=threads,
    )  # fmt: skip


def windows_plan(context: int, stride: int) -> Callable[[Ids, int], Iterator[Window]]:
    """The plan of scoring/windows.py."""

    def plan(tokens_N: Ids, _bos: int, /) -> Iterator[Window]:
        return windows(len(tokens_N) - 1, context=context, stride=stride)

    return plan


def documents_plan(chunk: int, order: Order = CANONICAL) -> Callable[[Ids, int], Iterator[Window]]:
    """The plan of scoring/adaptive.py: each document in chunks, in the order of the text, or in another."""

    def plan(tokens_N: Ids, bos: int, /) -> Iterator[Window]:
        begins = np.flatnonzero(tokens_N[1:-1] == bos) + 1
        spans = itertools.pairwise([0, *begins.tolist(), len(tokens_N) - 1])
        for begin, end in spans if order == CANONICAL else sorted(spans, key=lambda span: span[0] - span[1]):
            for start in range(begin, end, chunk):
                yield Window(start, min(chunk, end - start), 0)

    return plan


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

    def learn(self, scored: Scored) -> None:
        """Nothing is learned."""
