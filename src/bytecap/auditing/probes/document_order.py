"""Targets are scored in the order of the text, not in one chosen by what comes later, such as the length of documents.

Rule: a grey point of the contest, whose records score the longest documents first, so that what was learned from them
serves the others: the truncation test fails across documents. An order that is published is recorded.
"""

from __future__ import annotations

import itertools

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, broken, kept, recorded
from bytecap.auditing.subject import Question
from bytecap.auditing.texts import planned_stream
from bytecap.core.units import counted


class DocumentOrder(Probe):
    """Looks whether the plan of scoring ever goes back."""

    needs = ("model",)

    def ask(self, question: Question) -> Answer:
        """The whole plan is asked."""
        tokens_N = planned_stream(question)
        firsts = [window.start + window.skip for window in question.model.plan(tokens_N, question.model.bos)]
        back = [(a, b) for a, b in itertools.pairwise(firsts) if b < a]
        evidence = f"the plan of scoring has {counted(len(firsts), 'part')}; "
        if not back:
            return kept(evidence + "they follow the text", 0, "steps back")
        if question.model.published_order:
            return recorded(
                evidence + f"{counted(len(back), 'time')} it goes back in the text; it is published that documents are "
                f"taken {question.model.published_order.replace('_', ' ')}", len(back), "steps back",
            )  # fmt: skip
        places = [f"target {b + 1:,} is scored after target {a + 1:,}" for a, b in back[:100]]
        return broken(
            evidence + f"{counted(len(back), 'time')} it goes back in the text", len(back), "steps back", places
        )
