"""The engine of a score that adapts: a model, what it has seen, and adaptations in their order.

In:   the inputs of a chunk, one document in each row.
Out:  log probabilities of what follows each; after the ledger has them, a `Scored` comes back to be learned from.

Letters: B rows, T positions of a chunk, D width, V vocabulary.
Source:  test-time training that scores first, as of openai/parameter-golf #1530 and #1586.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bytecap.core.device import autocast
from bytecap.core.errors import ConfigError
from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations.base import Adaptation
from bytecap.scoring.ledger import Scored, join
from bytecap.scoring.past import STREAMING, WINDOWS, Strategy, build_past

DEFAULT_CHUNK = 64
"""Positions scored at once where no adaptation asks for a number."""
ROW_CHUNK = 256
"""The same where they stream in a single row and nothing learns of them: how they are cut changes rounding alone, and a
pass over few positions is mostly overhead."""
FEW_WEIGHTS = 10_000_000
"""A model of fewer takes a chunk in one thread: over few positions several gain nothing and wait for each other, on a
busy machine ten times as long as they work."""


def chunk_threads(model: GPT) -> int | None:
    """Threads that a chunk of a single row is worth; None: all."""
    return 1 if sum(parameter.numel() for parameter in model.parameters()) < FEW_WEIGHTS else None


class Engine:
    """Predicts a chunk in each row, and learns from it once it is scored. It works on a copy of the model.

    `text_V` is the text of each token, for adaptations that read it; empty where the tokenizer is not known.

    ConfigError for adaptations that ask for chunks of different lengths, and for two that move the weights.
    """

    def __init__(
        self,
        model: GPT,
        adaptations: Sequence[Adaptation],
        *,
        bos: int,
        context: int,
        strategy: Strategy = WINDOWS,
        text_V: Sequence[str] = (),
    ) -> None:
        self.bos, self.adaptations = bos, tuple(adaptations)
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        chunks = {a.chunk for a in adaptations if a.chunk is not None}
        if len(chunks) > 1:
            raise ConfigError(
                f"the adaptations ask for chunks of {' and '.join(map(str, sorted(chunks)))} positions; those of one "
                "score must be equal"
            )
        if len(moving := [type(a).__name__ for a in adaptations if a.moves_weights]) > 1:
            raise ConfigError(f"{' and '.join(moving)} would both move the model's weights; choose one of them")
        self.learning_chunk = chunks.pop() if chunks else None
        self.needs_gradient = any(a.needs_gradient for a in adaptations)
        learns = self.needs_gradient or any(type(a).learn is not Adaptation.learn for a in adaptations)
        free = ROW_CHUNK if strategy == STREAMING and self.in_order and not learns else DEFAULT_CHUNK
        self.chunk = min(context, self.learning_chunk or min(free, max(1, context // 2)))
        """T: positions of a document that are best asked for at once."""
        self._past = build_past(self.model, strategy, bos=bos, context=context, chunk=self.chunk)
        for adaptation in adaptations if text_V else ():
            adaptation.read_texts(text_V)
        self._graphs: list[Tensor] = []
        self._fresh = 0
        """Positions predicted since the last `learn` of documents that have not ended."""
        self._pending: list[Scored] = []
        """What is of the documents in the rows, scored and not yet learned from."""

    @property
    def in_order(self) -> bool:
        """True where documents must run one after the other."""
        return self.model.spec.across_documents or any(a.in_order for a in self.adaptations)

    def max_rows(self, wanted: int) -> int:
        """How many documents run side by side, at most `wanted`.

        One, where a chunk of learning is longer than what is asked for at once: the parts of the others that wait for
        the rest of theirs would be lost where a document ends.
        """
        return (
            1
            if self.in_order or self.chunk < (self.learning_chunk or 0)
            else min([wanted, *(a.max_rows for a in self.adaptations if a.max_rows)])
        )

    def begin(self, rows: int) -> None:
        """Forget everything."""
        self._past.begin(rows)
        self._graphs, self._fresh, self._pending = [], 0, []
        for adaptation in self.adaptations:
            adaptation.begin(self.model, rows, self.bos)

    def reset(self, row: int) -> None:
        """A document begins in a row."""
        self._past.reset(row)
        self._fresh, self._pending = 0, []
        for adaptation in self.adaptations:
            if not adaptation.across_documents:
                adaptation.reset(row)

    def keep(self, rows: Sequence[int]) -> None:
        """Give up all rows but these."""
        self._past.keep(rows)
        for adaptation in self.adaptations:
            adaptation.keep(rows)

    def log_probs(self, inputs_BT: Tensor) -> Tensor:
        """Natural log probabilities (B, T, V) of what follows each input, float32, without gradients."""
        device = next(self.model.parameters()).device
        with torch.set_grad_enabled(self.needs_gradient), autocast(device):
            log_probs_BTV = self._logits(inputs_BT).log_softmax(dim=-1)
        mixed_BTV = alone_BTV = log_probs_BTV.detach()
        with torch.no_grad():
            for adaptation in self.adaptations:
                mixed_BTV = adaptation.mix(mixed_BTV, inputs_BT)
        self._fresh += inputs_BT.size(1)
        if self.needs_gradient:
            self._graphs.append(log_probs_BTV if mixed_BTV is alone_BTV else _tilted(log_probs_BTV, mixed_BTV))
        return mixed_BTV

    def learn(self, scored: Scored) -> None:
        """Hand what `log_probs` was asked for since the last time to the adaptations.

        Those that keep something across documents get all of it. The others get the part of documents that
        continue, once it is as long as they want it.
        """
        graphs, fresh, length = self._graphs, self._fresh, scored.counted_BT.size(1)
        self._graphs, self._fresh = [], 0
        across = [a for a in self.adaptations if a.across_documents]
        if across:
            whole = _with_graphs(scored, graphs)
            for adaptation in across:
                adaptation.learn(whole)
        if not fresh or len(across) == len(self.adaptations):
            return
        self._pending.append(_with_graphs(scored.part(length - fresh, length), graphs))
        if sum(part.counted_BT.size(1) for part in self._pending) < (self.learning_chunk or 1):
            return
        whole, self._pending = join(self._pending), []
        if not _all_ended(whole, self.bos):
            for adaptation in self.adaptations:
                if not adaptation.across_documents:
                    adaptation.learn(whole)

    def _logits(self, inputs_BT: Tensor) -> Tensor:
        hidden_BTD = self._past.hidden(inputs_BT)
        logits_BTV = self.model.raw_logits(hidden_BTD)
        for adaptation in self.adaptations:
            logits_BTV = adaptation.raw_logits(logits_BTV, hidden_BTD)
        if (cap := self.model.softcap(logits_BTV)) is not None:
            for adaptation in self.adaptations:
                cap = adaptation.softcap(cap, logits_BTV)
            logits_BTV = torch.tanh(logits_BTV / cap) * cap
        for adaptation in self.adaptations:
            logits_BTV = adaptation.logits(logits_BTV, hidden_BTD, inputs_BT)
        return logits_BTV


class EnginePredictor:
    """The engine with one row, as a Predictor of a stream of documents."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def vocab_size(self) -> int:
        """V: how many tokens there are."""
        return self._engine.model.spec.vocab_size

    def reset(self) -> None:
        """Forget everything: a stream begins."""
        self._engine.begin(1)

    def log_probs(self, tokens_T: Tensor) -> Tensor:
        """Natural log probabilities (T, V), piece by piece, so that none reaches over the beginning of a document."""
        found = []
        for first, end in _pieces(tokens_T, self._engine.bos, self._engine.chunk):
            if int(tokens_T[first]) == self._engine.bos:
                self._engine.reset(0)
            found.append(self._engine.log_probs(tokens_T[None, first:end])[0])
        return torch.cat(found)

    def learn(self, scored: Scored) -> None:
        """Learn from all that was asked for since the last time."""
        self._engine.learn(scored)


def _pieces(tokens_T: Tensor, bos: int, longest: int) -> Iterator[tuple[int, int]]:
    begins = [0, *(place for place in (tokens_T == bos).nonzero().flatten().tolist() if place), len(tokens_T)]
    for first, end in itertools.pairwise(begins):
        for start in range(first, end, longest):
            yield start, min(start + longest, end)


def _tilted(log_p_BTV: Tensor, log_q_BTV: Tensor) -> Tensor:
    """The values of log q, with the gradient that they have where q is p times factors that do not depend on p.

    The loss of a target then has the gradient q - 1 at its logit and q at all others: what a mixture already knows is
    not learned once more. Where q is p that is the gradient of log p.
    """
    log_q_BTV = log_q_BTV.to(log_p_BTV.device)
    moving_BTV = log_p_BTV - (log_q_BTV.exp() * log_p_BTV).sum(dim=-1, keepdim=True)
    return log_q_BTV + moving_BTV - moving_BTV.detach()


def _with_graphs(scored: Scored, graphs: list[Tensor]) -> Scored:
    """A chunk with the last of the graphs, as many as it has positions."""
    if not graphs:
        return scored
    left = scored.counted_BT.size(1)
    last: list[Tensor] = []
    while left:
        last.insert(0, graphs[-1 - len(last)])
        left -= last[0].size(1)
    return scored.with_graph(torch.cat(last, dim=1))


def _all_ended(scored: Scored, bos: int) -> bool:
    """True where the last target of every row begins the next document, so that there is nothing to learn for."""
    last_B1 = scored.counted_BT.sum(dim=1, keepdim=True) - 1
    return bool((scored.targets_BT.gather(1, last_B1) == bos).all())
