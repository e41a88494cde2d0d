"""Warming up leaves nothing behind: after random tokens and a reset the model says what it said before, to the bit.

Rule: A5. Source: openai/parameter-golf #1530, whose warm-up ran a backward pass on validation tokens.
"""

from __future__ import annotations

from bytecap.auditing.excerpts import excerpts, largest_change, read_again
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, broken, kept
from bytecap.auditing.subject import Question
from bytecap.core.units import counted


class WarmUp(Probe):
    """Shows the model random tokens, and resets it."""

    needs = ("model",)

    def ask(self, question: Question) -> Answer:
        """Equal means every bit."""
        moved, largest = [], 0.0
        found = excerpts(question)
        for number, (excerpt, rows) in enumerate(zip(found, read_again(question), strict=True), start=1):
            at = excerpt.rows.first_difference(rows, 0, len(rows))
            if at is not None:
                largest = max(largest, largest_change(excerpt.rows, rows, 0, len(rows)))
                moved.append(f"excerpt {number}, after random tokens: token {at + 1:,} is the first that differs")
        evidence = f"{counted(len(found), 'time')} the model read random tokens and was reset; "
        if not moved:
            return kept(evidence + "nothing was left of them", 0, "changes")
        return broken(evidence + f"losses changed by up to {largest:.3g} nats", len(moved), "changes", moved)
