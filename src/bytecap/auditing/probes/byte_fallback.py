"""A piece for one byte counts one, and any other piece the UTF-8 of its text: each is compared with what it decodes to.

Rule: B3. Source: openai/parameter-golf, Issues #897 and #755; #1184 counted 27 byte pieces as three bytes each (0.9485,
truly 1.1289: #1271).
"""

from __future__ import annotations

from bytecap.auditing.byte_pieces import Piece, wrong_pieces
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, broken, kept
from bytecap.auditing.subject import Question
from bytecap.core.units import counted


class ByteFallback(Probe):
    """Looks at byte pieces, at those of several bytes a letter, and at all others without a leading space."""

    needs = ("tokenizer",)

    def ask(self, question: Question) -> Answer:
        """Every piece of the vocabulary is asked."""
        asked, wrong = wrong_pieces(question.tokenizer, lambda piece: not piece.begins_with_space)
        evidence = f"{asked:,} pieces without a leading space were decoded; "
        if not wrong:
            return kept(evidence + "each counts the bytes that it stands for", 0, "pieces")
        return broken(
            evidence + f"{counted(len(wrong), 'counts', 'count')} others",
            len(wrong),
            "pieces",
            list(map(Piece.shown, wrong)),
        )
