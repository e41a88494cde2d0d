"""What an audit found: one finding for each rule, and the report of all.

In:   answers of probes.
Out:  JSON values, and a table for people.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["kept", "broken", "recorded", "not asked"]
"""`recorded`: found and reported, without an accusation; `not asked`: the question needs what is not available."""
KEPT: Verdict = "kept"
BROKEN: Verdict = "broken"
RECORDED: Verdict = "recorded"
NOT_ASKED: Verdict = "not asked"
MAX_PLACES = 5
"""Places that a finding names at most."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one probe says."""

    verdict: Verdict
    evidence: str
    """One sentence: what was asked, how often, and what came out."""
    figure: float | int | None = None
    """The number behind the verdict."""
    unit: str = ""
    places: tuple[str, ...] = ()
    """Where: positions, tokens, documents, files."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A rule and the answer to it."""

    rule: str
    title: str
    probe: str
    answer: Answer
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """One flat table."""
        head = {"rule": self.rule, "title": self.title, "probe": self.probe}
        return {**head, **dataclasses.asdict(self.answer), "seconds": self.seconds}


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Everything that an audit found, in the order of the rules."""

    subject: str
    rules: str
    """Name of the rule set."""
    seed: int
    """What positions, tokens and documents were drawn with."""
    findings: tuple[Finding, ...]
    seconds: float

    def with_verdict(self, verdict: Verdict) -> list[Finding]:
        """The findings of one verdict."""
        return [finding for finding in self.findings if finding.answer.verdict == verdict]

    @property
    def broken(self) -> list[Finding]:
        """The rules that were found broken; empty for a clean report."""
        return self.with_verdict(BROKEN)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "subject": self.subject,
            "rules": self.rules,
            "seed": self.seed,
            "broken": [finding.rule for finding in self.broken],
            "findings": [finding.to_json() for finding in self.findings],
            "seconds": self.seconds,
        }


def shown_places(places: list[str]) -> tuple[str, ...]:
    """The first places, and how many more there are."""
    more = len(places) - MAX_PLACES
    return (*places[:MAX_PLACES], *([f"{more:,} more"] if more > 0 else []))
