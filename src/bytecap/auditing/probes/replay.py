"""A stream that is read again gets the same losses to the bit: nothing is left of what was read before.

Rule: C3. What learns before it is scored, or remembers a first pass, gives other losses the second time. The stream is
read again by the same model after other text and a reset, by a newly made one, and its first part alone.

Source: openai/parameter-golf #771, #1376, #1485 to #1489, #1517, #1735, #1738, #1758, #1972, #1992.
"""

from __future__ import annotations

from bytecap.auditing.excerpts import excerpts, largest_change, new_predictor, read_again, run_stream
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, broken, kept
from bytecap.auditing.subject import Question


class Replay(Probe):
    """Asks about every excerpt again."""

    needs = ("model",)

    def ask(self, question: Question) -> Answer:
        """Equal means every bit."""
        moved, largest, asked = [], 0.0, 0
        other = new_predictor(question)
        for number, (excerpt, after_reset) in enumerate(zip(excerpts(question), read_again(question), strict=True), 1):
            part = int(question.rng.integers(1, len(excerpt.rows)))
            again = {
                "after other text and a reset": after_reset,
                "by a newly made model": run_stream(question, excerpt.tokens_N, by=other),
                "up to a random place": run_stream(question, excerpt.tokens_N, until=part),
            }
            for how, rows in again.items():
                asked += len(rows)
                at = excerpt.rows.first_difference(rows, 0, len(rows))
                if at is not None:
                    largest = max(largest, largest_change(excerpt.rows, rows, 0, len(rows)))
                    moved.append(f"excerpt {number} read again {how}: token {at + 1:,} is the first that differs")
        evidence = f"{asked:,} positions were scored again; "
        if not moved:
            return kept(evidence + "all losses are the same to the bit", 0, "changes")
        return broken(evidence + f"losses changed by up to {largest:.3g} nats", len(moved), "changes", moved)
