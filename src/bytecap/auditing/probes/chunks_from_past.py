"""Where a chunk ends is decided by what was read so far, not by the lengths of documents to come.

Rule: a grey point of the contest: #2014 chose the chunk of its test-time training by the longest document of a batch.
The end of the stream is known to a plan and changes its last window; that is told of no token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept
from bytecap.auditing.subject import Question
from bytecap.auditing.texts import other_tokens, planned_stream
from bytecap.core.settings import bounds
from bytecap.core.units import counted


@dataclass(frozen=True, kw_only=True)
class ChunksFromPastConfig(ProbeConfig):
    """How often it is asked."""

    cuts: int = field(default=16, metadata=bounds(1))
    """Places after which the text is replaced."""


class ChunksFromPast(Probe):
    """Replaces all text behind a place, its documents' ends too, and compares the plans before it."""

    config_class = ChunksFromPastConfig
    needs = ("model",)

    def __init__(self, config: ChunksFromPastConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """Chunks that end before the place must stay what they are; their order is the matter of `document_order`."""
        model, tokens_N = question.model, planned_stream(question)
        whole = list(model.plan(tokens_N, model.bos))
        moved: list[str] = []
        for _ in range(self.config.cuts):
            cut = int(question.rng.integers(1, len(tokens_N)))
            changed_N = tokens_N.copy()
            changed_N[cut:] = other_tokens(question, tokens_N[cut:], keep_ends=False)
            later_N = question.rng.random(changed_N.size - cut) < 0.01
            changed_N[cut:][later_N] = model.bos
            before = {window for window in whole if window.start + window.length < cut}
            after = {window for window in model.plan(changed_N, model.bos) if window.start + window.length < cut}
            if before != after:
                moved.append(f"text replaced from token {cut:,} on")
        evidence = f"{counted(self.config.cuts, 'time')} the text behind a random place was replaced; "
        if not moved:
            return kept(evidence + "the chunks before it stayed", 0, "changed plans")
        return broken(
            evidence + f"{counted(len(moved), 'time')} chunks before it moved", len(moved), "changed plans", moved
        )
