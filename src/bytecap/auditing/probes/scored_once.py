"""Each target is scored exactly once: no second pass, no tail twice, none left out.

Rules: C4 and B4. Source: openai/parameter-golf #870, #881, #888, #959 (two passes); #1218 (the tail of windows).
"""

from __future__ import annotations

import numpy as np

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, broken, kept
from bytecap.auditing.subject import Question
from bytecap.auditing.texts import planned_stream
from bytecap.core.units import counted


class ScoredOnce(Probe):
    """Marks in a bitmap what the plan of scoring covers, over the whole text."""

    needs = ("model",)

    def ask(self, question: Question) -> Answer:
        """Every position is asked."""
        tokens_N = planned_stream(question)
        times_N = np.zeros(len(tokens_N) - 1, np.int64)
        for window in question.model.plan(tokens_N, question.model.bos):
            times_N[window.start + window.skip : window.start + window.length] += 1
        wrong = np.flatnonzero(times_N != 1)
        evidence = f"a bitmap of all {times_N.size:,} targets was filled as scoring goes through them; "
        if not wrong.size:
            return kept(evidence + "each is scored once", 0, "positions")
        places = [f"position {at + 1:,}: {counted(times_N[at], 'time')}" for at in wrong[:100].tolist()]
        return broken(
            evidence + f"{wrong.size:,} are scored another number of times", int(wrong.size), "positions", places
        )
