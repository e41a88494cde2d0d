"""What stands in one document changes nothing that is said of the next: its end is replaced, the next compared.

Rule: S1. What mixes neighbours outside attention must start afresh at BOS. Attention across documents that is published
is recorded and no offence. Nothing is learned while this is asked: what a model learns from documents that were scored
may serve the next ones, and `carried_over` tells of that.

Source: openai/parameter-golf #1797 and its audit, #1855, #1900 (SmearGate across packed documents).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bytecap.auditing.excerpts import largest_change, run_stream
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept, recorded
from bytecap.auditing.subject import Question
from bytecap.auditing.texts import draw_excerpt, other_tokens
from bytecap.core.settings import bounds
from bytecap.core.units import counted


@dataclass(frozen=True, kw_only=True)
class DocumentIsolationConfig(ProbeConfig):
    """How often it is asked."""

    boundaries: int = field(default=8, metadata=bounds(1))
    """Boundaries of documents, each asked with its last token replaced, and with several."""
    length: int = field(default=256, metadata=bounds(8))
    """Tokens of the two documents."""


class DocumentIsolation(Probe):
    """Changes the end of a document."""

    config_class = DocumentIsolationConfig
    needs = ("model",)

    def __init__(self, config: DocumentIsolationConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """Both streams are equally long, so equal means every bit."""
        moved, largest, model = [], 0.0, question.model
        for _ in range(self.config.boundaries):
            tokens_N = draw_excerpt(question, self.config.length + 1)
            begin = int(np.flatnonzero(tokens_N == model.bos)[1])
            rows = run_stream(question, tokens_N, learn=False)
            for replaced in (1, int(question.rng.integers(2, begin))):
                changed_N = tokens_N.copy()
                changed_N[begin - replaced : begin] = other_tokens(question, tokens_N[begin - replaced : begin])
                other = run_stream(question, changed_N, learn=False)
                at = rows.first_difference(other, begin, len(rows))
                if at is not None:
                    largest = max(largest, largest_change(rows, other, begin, len(rows)))
                    moved.append(
                        f"{counted(replaced, 'token')} before BOS replaced: token {at - begin + 1} behind it changed"
                    )
        return self._answer(moved, largest, across=model.across_documents)

    def _answer(self, moved: list[str], largest: float, *, across: bool) -> Answer:
        evidence = f"{2 * self.config.boundaries} times the end of a document was replaced; "
        if not moved:
            return kept(evidence + "nothing that was said of the next document changed in any bit", 0, "changes")
        found = (
            evidence + f"{counted(len(moved), 'time')} the next document changed, losses by up to {largest:.3g} nats"
        )
        if across:
            return recorded(found + "; it is published that documents see the ones before them", len(moved), "changes")
        return broken(found, len(moved), "changes", moved)
