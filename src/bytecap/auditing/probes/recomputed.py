"""The score that is claimed is what the model gives: the first documents of the text are scored again and compared.

Rule: C2, whose losses are recomputed from the distributions themselves. It also ties the other answers to the claim:
the model that was asked is the one that was scored, in the way that it was scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bytecap.auditing.excerpts import run_stream
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept, not_asked
from bytecap.auditing.subject import Question
from bytecap.auditing.texts import planned_stream
from bytecap.core.settings import bounds


@dataclass(frozen=True, kw_only=True)
class RecomputedConfig(ProbeConfig):
    """How much is scored again."""

    tokens: int = field(default=6_000, metadata=bounds(1))
    """Tokens of whole documents that are scored again; of a longer first document all."""
    most_tokens: int = field(default=30_000, metadata=bounds(1))
    """A first document that is longer than this is not asked for."""
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
        claimed_D = question.text.claimed_nats_D
        if claimed_D is None:
            return not_asked("the score does not say what each document's loss is")
        tokens_N = planned_stream(question)
        begins = [0, *(at for at in np.flatnonzero(tokens_N == question.model.bos).tolist() if at), len(tokens_N)]
        count = max(1, int(np.searchsorted(begins[1:], self.config.tokens, side="right")))
        if begins[count] > self.config.most_tokens or len(claimed_D) != len(begins) - 1:
            return not_asked(
                f"the first document has {begins[1]:,} tokens, and {len(claimed_D):,} documents are claimed of "
                f"{len(begins) - 1:,}"
            )
        rows = run_stream(question, tokens_N, until=begins[count] - 2)
        places, worst = [], 0.0
        for number in range(count):
            first, end = max(0, begins[number] - 1), begins[number + 1] - 1
            nats = float(rows.loss_N[first:end].sum())
            off = abs(nats - float(claimed_D[number])) / max(1, end - first)
            worst = max(worst, off, key=lambda value: np.inf if np.isnan(value) else value)
            if not off <= self.config.nats:
                places.append(f"document {number + 1:,}: {claimed_D[number]:.3f} nats claimed, {nats:.3f} given")
        evidence = f"the first {count:,} documents, {begins[count]:,} tokens, were scored again; "
        if not places:
            return kept(evidence + f"their losses are as claimed within {worst:.2g} nats per token", worst, "nats")
        return broken(evidence + f"losses differ by up to {worst:.3g} nats per token", worst, "nats", places)
