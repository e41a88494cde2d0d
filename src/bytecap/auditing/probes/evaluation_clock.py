"""Scoring, with all adaptation in it, ends within its limit.

Rule: A4. Source: openai/parameter-golf #1967 (172 s outside the clock), #1972 (688 s).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept, not_asked, recorded
from bytecap.auditing.subject import Question
from bytecap.core.settings import bounds


@dataclass(frozen=True, kw_only=True)
class EvaluationClockConfig(ProbeConfig):
    """The limit of the rules."""

    seconds: float | None = field(default=None, metadata=bounds(0))
    """Most seconds; None: there is no limit."""


class EvaluationClock(Probe):
    """Reads the scoring clock."""

    config_class = EvaluationClockConfig
    needs = ("clocks",)

    def __init__(self, config: EvaluationClockConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """Equal is within."""
        spent, limit = question.clocks.evaluation, self.config.seconds
        if spent is None:
            return not_asked("it is not known how long scoring took")
        if limit is None:
            return recorded(f"scoring took {spent:.1f} s; there is no limit", spent, "s")
        return (kept if spent <= limit else broken)(f"scoring took {spent:.1f} of {limit:g} s", spent, "s")
