"""The losses of a document may depend on the documents before it, once these are scored; it is reported if they do.

Rule: C5. Source: openai/parameter-golf, Issue #402. Losses that depend on documents to come are the matter of
`future_flip`.
"""

from __future__ import annotations

import numpy as np

from bytecap.auditing.excerpts import excerpts, largest_change, run_stream
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, kept, recorded
from bytecap.auditing.subject import Question
from bytecap.auditing.texts import other_tokens
from bytecap.core.units import counted


class CarriedOver(Probe):
    """Replaces a whole document and looks at the next."""

    needs = ("model",)

    def ask(self, question: Question) -> Answer:
        """Told and never accused."""
        moved, largest, found = 0, 0.0, excerpts(question)
        for excerpt in found:
            begin = int(np.flatnonzero(excerpt.tokens_N == question.model.bos)[1])
            changed_N = excerpt.tokens_N.copy()
            changed_N[1:begin] = other_tokens(question, changed_N[1:begin])
            rows = run_stream(question, changed_N)
            if excerpt.rows.first_difference(rows, begin, len(rows)) is not None:
                moved += 1
                largest = max(largest, largest_change(excerpt.rows, rows, begin, len(rows)))
        evidence = f"{counted(len(found), 'time')} a whole document was replaced; "
        if not moved:
            return kept(evidence + "the losses of the next did not change: each is scored by itself", 0, "changes")
        return recorded(
            evidence + f"{counted(moved, 'time')} the losses of the next changed, by up to {largest:.3g} nats: "
            "something is carried over from documents that were scored", moved, "changes",
        )  # fmt: skip
