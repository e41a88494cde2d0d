"""The probabilities of the whole vocabulary are numbers, none negative, and sum to one, in float64.

Rule: C2. Source: openai/parameter-golf #886 (a cache that sums to about 277), #972 (truly 1.51), Issue #1872.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bytecap.auditing.excerpts import excerpts
from bytecap.auditing.findings import Answer
from bytecap.auditing.probes.base import Probe, ProbeConfig, broken, kept
from bytecap.auditing.subject import Question
from bytecap.core.settings import bounds
from bytecap.core.units import counted


@dataclass(frozen=True, kw_only=True)
class NormalizationConfig(ProbeConfig):
    """How far a sum may be from one."""

    tolerance: float = field(default=1e-6, metadata=bounds(0))
    """Most that a sum may differ from one."""
    roundings: float = field(default=32.0, metadata=bounds(0))
    """What the numbers' own type explains beyond that: so many times the distance from 1 to the next number, 3.8e-6 for
    log probabilities of 32 bits."""


class Normalization(Probe):
    """Adds up every distribution of the excerpts."""

    config_class = NormalizationConfig
    needs = ("model",)

    def __init__(self, config: NormalizationConfig) -> None:
        super().__init__(config)
        self.config = config

    def ask(self, question: Question) -> Answer:
        """The figure is the sum that is farthest from one, less one."""
        places, worst, asked = [], 0.0, 0
        for number, excerpt in enumerate(excerpts(question), start=1):
            sum_N = excerpt.rows.sum_N
            assert sum_N is not None, "the distributions of excerpts are added up"
            off_N = np.abs(sum_N - 1.0)
            allowed = max(self.config.tolerance, self.config.roundings * excerpt.rows.epsilon)
            asked += off_N.size
            for at in np.flatnonzero(~(off_N <= allowed)).tolist():
                places.append(f"token {at + 1:,} of excerpt {number}: {sum_N[at]:.9g}")
            at = int(np.argmax(np.where(np.isnan(off_N), np.inf, off_N)))
            worst = max(worst, float(off_N[at]), key=lambda value: np.inf if np.isnan(value) else value)
        evidence = f"{asked:,} distributions were added up over all {question.model.vocab_size:,} tokens in float64; "
        if not places:
            return kept(evidence + f"the sums differ from one by at most {worst:.2g}", worst, "of 1")
        return broken(
            evidence + f"{counted(len(places), 'does', 'do')} not sum to one (off by up to {worst:.3g})",
            worst,
            "of 1",
            places,
        )
