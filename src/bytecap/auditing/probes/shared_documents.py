"""Held-out documents that stand, letter for letter, in the training text: all are hashed and compared.

Rule: D1. Source: openai/parameter-golf, Issue #2127 (80 % of the validation documents: 0.014 bits per byte).
"""

from __future__ import annotations

from bytecap.auditing.findings import Answer
from bytecap.auditing.overlap import shared_documents
from bytecap.auditing.probes.base import Probe, broken, kept, not_asked
from bytecap.auditing.subject import MISSING, Question
from bytecap.auditing.texts import held_out_documents, training_documents
from bytecap.core.units import counted


class SharedDocuments(Probe):
    """Compares hashes of all documents of both splits."""

    needs = ("text", "training")

    def ask(self, question: Question) -> Answer:
        """One shared document breaks the rule."""
        held_out = held_out_documents(question)
        if held_out is None:
            return not_asked(MISSING["tokenizer"])
        shared = shared_documents(held_out, training_documents(question))
        evidence = (
            f"{counted(len(held_out), 'held-out document was', 'held-out documents were')} looked for, by hash, among "
            f"the training documents{question.training.note}; "
        )
        if not shared:
            return kept(evidence + "none is there", 0, "documents")
        places = [
            f"document {pair.held_out + 1:,} is training document {pair.training + 1:,}: {pair.beginning!r}"
            for pair in shared
        ]
        return broken(evidence + f"{counted(len(shared), 'is', 'are')} there", len(shared), "documents", places)
