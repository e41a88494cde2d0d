"""Scoring opens nothing but the files that are counted: no others, no network, no programs.

Rule: A2. Source: openai/parameter-golf, README.
"""

from __future__ import annotations

from bytecap.auditing.excerpts import excerpts
from bytecap.auditing.findings import Answer
from bytecap.auditing.opened_files import opened
from bytecap.auditing.probes.base import Probe, broken, kept
from bytecap.auditing.subject import Question
from bytecap.core.units import counted


class SelfContained(Probe):
    """Watches the model while it is made and asked all other questions."""

    needs = ("model", "files")
    asked_last = True

    def ask(self, question: Question) -> Answer:
        """Any file that is not counted breaks the rule."""
        excerpts(question)  # where no other rule asks the model, this one does
        named, seen = {path.resolve() for path in question.files.paths}, opened(question)
        found = [str(path) for path in seen.files if path not in named] + seen.others
        evidence = "the model was watched while it was made and asked all other questions; "
        if found:
            return broken(evidence + "it opened what is not counted", len(found), "openings", found)
        return kept(
            evidence + f"it opened nothing but the {counted(len(named), 'file that is', 'files that are')} counted",
            0,
            "openings",
        )
