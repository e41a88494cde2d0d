"""The space that a piece begins with counts one byte, once: each such piece is compared with what it decodes to.

Rule: B2. Source: openai/parameter-golf, Issue #1719: a table with the space in it and a scorer that adds it again count
16.7 to 17.5 % too many bytes (#1545, #1576, #1632, #1672, #1698, #1712, #1734, #1791).
"""

from __future__ import annotations

from bytecap.auditing.byte_pieces import Piece, wrong_pieces
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, broken, kept
from bytecap.auditing.subject import Question
from bytecap.core.units import counted


class LeadingSpace(Probe):
    """Looks at pieces that begin with a space, after a letter and after BOS."""

    needs = ("tokenizer",)

    def ask(self, question: Question) -> Answer:
        """Every piece of the vocabulary is asked."""
        asked, wrong = wrong_pieces(question.tokenizer, lambda piece: piece.begins_with_space)
        evidence = f"{asked:,} pieces that begin with a space were decoded after a letter and after BOS; "
        if not wrong:
            return kept(evidence + "each counts the bytes that it adds", 0, "pieces")
        return broken(
            evidence + f"{counted(len(wrong), 'counts', 'count')} others",
            len(wrong),
            "pieces",
            list(map(Piece.shown, wrong)),
        )
