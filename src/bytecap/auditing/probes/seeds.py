"""The seed of a score is known, and was named before the run with the others, none left out.

Rule: S2 and S3. Source: openai/parameter-golf #2124 and README; #1769 reports the five lowest of seven seeds.
"""

from __future__ import annotations

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, recorded
from bytecap.auditing.subject import Question


class Seeds(Probe):
    """Tells the seed and the digest of the settings, by which several runs can be held together."""

    needs = ("origin",)

    def ask(self, question: Question) -> Answer:
        """One run alone can neither keep nor break this rule."""
        origin = question.origin
        return recorded(
            f"seed {origin.seed}, settings {origin.recipe_digest}; one run says nothing of seeds that were tried and "
            "left out", origin.seed, "seed",
        )  # fmt: skip
