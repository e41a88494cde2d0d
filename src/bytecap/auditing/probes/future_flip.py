"""All text behind a token is replaced, and what was said up to it must be the same to the bit.

Rule: C1. Source: openai/parameter-golf, Issue #1017.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bytecap.auditing.excerpts import excerpts, largest_change, run_stream
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept
from bytecap.auditing.subject import Question
from bytecap.auditing.texts import other_tokens
from bytecap.core.settings import bounds
from bytecap.core.units import counted


@dataclass(frozen=True, kw_only=True)
class FutureFlipConfig(ProbeConfig):
    """How often it is asked."""

    flips: int = field(default=32, metadata=bounds(1))
    """Places behind which all is replaced, one at a time."""


class FutureFlip(Probe):
    """Changes everything that the model may see only later."""

    config_class = FutureFlipConfig
    needs = ("model",)

    def __init__(self, config: FutureFlipConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """Both streams are equally long, so equal means every bit."""
        moved, largest = [], 0.0
        for number in range(self.config.flips):
            excerpt = excerpts(question)[number % len(excerpts(question))]
            last = int(question.rng.integers(0, excerpt.tokens_N.size - 1))
            changed_N = excerpt.tokens_N.copy()
            changed_N[last + 1 :] = other_tokens(question, changed_N[last + 1 :])
            rows = run_stream(question, changed_N, until=last)
            at = excerpt.rows.first_difference(rows, 0, last + 1)
            if at is not None:
                largest = max(largest, largest_change(excerpt.rows, rows, 0, last))
                moved.append(f"all behind token {last:,} replaced: the distribution of token {at + 1:,} changed")
        evidence = f"{counted(self.config.flips, 'time')} all text behind a token was replaced; "
        if not moved:
            return kept(evidence + "nothing that was said before it changed in any bit", 0, "changes")
        return broken(
            f"{evidence}{counted(len(moved), 'time')} a distribution before it changed "
            f"(losses by up to {largest:.3g} nats)",
            len(moved), "changes", moved,
        )  # fmt: skip
