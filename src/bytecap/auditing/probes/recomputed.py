"""The score that is claimed is what the model gives: some documents of the text are scored again and compared.

They are neighbours, drawn at random where the model carries nothing from one document to the next, else the first ones.

Rule: C2, whose losses are recomputed from the distributions themselves. It also ties the other answers to the claim:
the model that was asked is the one that was scored, in the way that it was scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bytecap.auditing.drive import chunks
from bytecap.auditing.excerpts import run_stream
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept, not_asked
from bytecap.auditing.subject import Ids, Question
from bytecap.auditing.texts import planned_stream
from bytecap.core.settings import bounds
from bytecap.core.units import counted


@dataclass(frozen=True, kw_only=True)
class RecomputedConfig(ProbeConfig):
    """How much is scored again."""

    tokens: int = field(default=6_000, metadata=bounds(1))
    """Tokens of whole documents that are scored again, with the one before them; of longer ones one."""
    most_tokens: int = field(default=30_000, metadata=bounds(1))
    """A document that is longer than this, with the one before it, is not asked for."""
    nats: float = field(default=1e-4, metadata=bounds(0))
    """By how much the mean loss of a token may differ, as batches of other shapes let it."""


class Recomputed(Probe):
    """Adds up the losses of each document."""

    config_class = RecomputedConfig
    needs = ("model", "text")

    def __init__(self, config: RecomputedConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """The figure is the largest difference in nats per token of a document."""
        if wrong := list(question.text.contradictions):
            return broken("figures of the score contradict each other", len(wrong), "figures", wrong)
        claimed_D = question.text.claimed_nats_D
        if claimed_D is None:
            return not_asked("the score does not say what each document's loss is")
        tokens_N = planned_stream(question)
        starts = [0, *(at for at in np.flatnonzero(tokens_N == question.model.bos).tolist() if at), len(tokens_N)]
        if len(claimed_D) != len(starts) - 1:
            return not_asked(
                f"{counted(len(claimed_D), 'document is', 'documents are')} claimed of {len(starts) - 1:,}"
            )
        if (drawn := self._draw(question, starts)) is None:
            return not_asked(f"no document has at most {self.config.most_tokens:,} tokens, with the one before it")
        given = self._nats(question, tokens_N, starts, drawn)
        places, worst = [], 0.0
        for number, nats in zip(drawn, given, strict=True):
            off = abs(nats - float(claimed_D[number])) / (starts[number + 1] - starts[number])
            worst = max(worst, off, key=lambda value: np.inf if np.isnan(value) else value)
            if not off <= self.config.nats:
                places.append(f"document {number + 1:,}: {claimed_D[number]:.3f} nats claimed, {nats:.3f} given")
        evidence = (
            f"{len(drawn):,} of {counted(len(claimed_D), 'document')}, from number {drawn[0] + 1:,} on, "
            f"{starts[drawn.stop] - starts[drawn[0]]:,} tokens, were scored again; "
        )
        if not places:
            return kept(evidence + f"their losses are as claimed within {worst:.2g} nats per token", worst, "nats")
        return broken(evidence + f"losses differ by up to {worst:.3g} nats per token", worst, "nats", places)

    def _draw(self, question: Question, starts: list[int]) -> range | None:
        """Numbers of the documents that are scored again; None where all are too long.

        A document's first target is its BOS, which the one before predicts and which is therefore asked for too.
        """
        most, restarts = self.config.most_tokens, question.model.restarts
        numbers = range(len(starts) - 1 if restarts else 1)
        fitting = [d for d in numbers if starts[d + 1] - starts[max(0, d - 1)] <= most]
        if not fitting:
            return None
        first = fitting[int(question.rng.integers(len(fitting)))]
        room = starts[max(0, first - 1)] + self.config.tokens
        end = max(first + 1, int(np.searchsorted(starts, room, side="right")) - 1)
        while restarts and first and starts[end] - starts[max(0, first - 2)] <= self.config.tokens:
            first -= 1
        return range(first, end)

    def _nats(self, question: Question, tokens_N: Ids, starts: list[int], drawn: range) -> list[float]:
        """The loss of each drawn document, asked from the chunk on that holds the beginning of the one before."""
        before = starts[max(0, drawn[0] - 1)]
        begin = max(first for first, _ in chunks(question.model, tokens_N) if first <= before)
        loss_N = run_stream(question, tokens_N, start=begin, until=starts[drawn.stop] - 2).loss_N
        spans = [(max(0, starts[d] - 1) - begin, starts[d + 1] - 1 - begin) for d in drawn]
        return [float(loss_N[first:end].sum()) for first, end in spans]
