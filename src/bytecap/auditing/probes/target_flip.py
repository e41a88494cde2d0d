"""A token is replaced, and the distribution that was given for it must be the same to the bit, as all before it.

Rule: C1. Source: openai/parameter-golf #1420, #1967, #2018, #2140, whose gates looked at properties of the target.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bytecap.auditing.excerpts import excerpts, largest_change, run_stream
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept
from bytecap.auditing.subject import Question
from bytecap.auditing.texts import other_tokens
from bytecap.core.settings import bounds
from bytecap.core.units import counted


@dataclass(frozen=True, kw_only=True)
class TargetFlipConfig(ProbeConfig):
    """How often it is asked."""

    flips: int = field(default=32, metadata=bounds(1))
    """Tokens that are replaced, one at a time."""


class TargetFlip(Probe):
    """Changes one token that the model may see only later."""

    config_class = TargetFlipConfig
    needs = ("model",)

    def __init__(self, config: TargetFlipConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """Both streams are equally long, so equal means every bit."""
        moved, largest = [], 0.0
        for number in range(self.config.flips):
            excerpt = excerpts(question)[number % len(excerpts(question))]
            place = int(question.rng.choice(np.flatnonzero(excerpt.tokens_N != question.model.bos)))
            changed_N = excerpt.tokens_N.copy()
            changed_N[place : place + 1] = other_tokens(question, changed_N[place : place + 1])
            rows = run_stream(question, changed_N, until=place - 1)
            at = excerpt.rows.first_difference(rows, 0, place)
            if at is not None:  # the loss of the changed token itself is of another token, so it is left out
                largest = max(largest, largest_change(excerpt.rows, rows, 0, place - 1))
                moved.append(f"token {place:,} replaced: the distribution of token {at + 1:,} changed")
        evidence = f"{counted(self.config.flips, 'token was', 'tokens were')} replaced, one at a time; "
        if not moved:
            return kept(evidence + "no distribution of it or of a token before it changed in any bit", 0, "changes")
        return broken(
            f"{evidence}{counted(len(moved), 'time')} one of it or before it changed "
            f"(losses by up to {largest:.3g} nats)",
            len(moved), "changes", moved,
        )  # fmt: skip
