"""The seed of a score is known, and the runs of the other seeds that stand beside it have the same settings.

Rule: S2 and S3. Source: openai/parameter-golf #2124 and README; #1769 reports the five lowest of seven seeds.
"""

from __future__ import annotations

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, broken, recorded
from bytecap.auditing.subject import Question


class Seeds(Probe):
    """Tells the seed and the digest of the settings, and compares those of several seeds."""

    needs = ("origin",)

    def ask(self, question: Question) -> Answer:
        """Other settings under another seed break the rule; seeds that were left out cannot be seen."""
        origin = question.origin
        evidence = f"seed {origin.seed}, settings {origin.recipe_digest}; "
        if len(origin.others) < 2:
            evidence += "one run says nothing of seeds that were tried and left out"
            return recorded(evidence, origin.seed, "seed")
        mine = origin.others[origin.seed]
        different = [f"seed {seed}" for seed, digest in sorted(origin.others.items()) if digest != mine]
        evidence += f"beside it stand runs of the seeds {', '.join(map(str, sorted(origin.others)))}; "
        if different:
            return broken(evidence + "not all have the same settings", len(different), "seeds", different)
        return recorded(evidence + "all have the same settings", len(origin.others), "seeds")
