"""Tests and intervals for a difference: over seeds, over pairs, over documents; and how many seeds would settle it.

In:   one number for each run of either side; or nats and bytes of each document.
Out:  a Difference: mean, standard error, degrees of freedom, p, interval. Negative means that the first side is lower.

Letters: D documents, N numbers of seeds.
Source:  B. L. Welch, "The generalization of Student's problem when several different population variances are
involved", Biometrika 34 (1947); the ratio of sums over documents as in W. G. Cochran, "Sampling Techniques", chapter 6.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

Values = npt.NDArray[Any]
LEVEL = 0.95
"""Share of repetitions in which an interval is meant to hold the true difference."""
POWER = 0.8
"""Share of repetitions in which the seeds asked for would show the difference."""
MAX_SEEDS = 1000
"""More seeds than this are not asked for."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A measured difference of two sides and how sure it is."""

    test: Literal["welch", "paired", "documents"]
    """Independent runs; runs in pairs; documents in pairs, which says nothing of other seeds."""
    mean: float
    standard_error: float
    freedom: float
    """Degrees of freedom of Student's t."""
    p: float
    """Probability of a difference at least as large where there is none, in either direction."""
    low: float
    high: float
    """Ends of the interval at `LEVEL`."""

    def p_lower_by(self, margin: float) -> float:
        """Probability of so low a mean where the first side is lower by no more than `margin`: one direction."""
        return _tail(self.mean + margin, self.standard_error, self.freedom)

    @property
    def is_clear(self) -> bool:
        """True where the interval leaves zero out."""
        return self.p < 1 - LEVEL


def welch(ours: Sequence[float], theirs: Sequence[float]) -> Difference | None:
    """The difference of two means of independent runs; None where either side has a single run."""
    if min(len(ours), len(theirs)) < 2:
        return None
    shares = [statistics.variance(side) / len(side) for side in (ours, theirs)]
    total = sum(shares)
    below = sum(share**2 / (len(side) - 1) for share, side in zip(shares, (ours, theirs), strict=True))
    freedom = total**2 / below if below > 0 else float(len(ours) + len(theirs) - 2)
    return _difference("welch", statistics.fmean(ours) - statistics.fmean(theirs), math.sqrt(total), freedom)


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Difference | None:
    """The mean of differences within pairs; None for fewer than two pairs."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    if len(differences) < 2:
        return None
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return _difference("paired", statistics.fmean(differences), error, len(differences) - 1.0)


def over_documents(ours_D: Values, theirs_D: Values, amount_D: Values) -> Difference | None:
    """The difference of two sums of nats for each unit of `amount_D` (bytes or tokens); None below two documents.

    A ratio of sums, so long documents weigh more; its error is that of the documents' residuals around the ratio.
    """
    if len(amount_D) < 2 or amount_D.sum() <= 0:
        return None
    difference_D, total = ours_D - theirs_D, float(amount_D.sum())
    ratio = float(difference_D.sum()) / total
    residual_D = difference_D - ratio * amount_D
    count = len(amount_D)
    error = math.sqrt(count / (count - 1) * float(residual_D @ residual_D)) / total
    return _difference("documents", ratio, error, count - 1.0)


def scaled(difference: Difference, factor: float) -> Difference:
    """The same difference in another unit."""
    return Difference(
        test=difference.test, mean=factor * difference.mean, standard_error=factor * difference.standard_error,
        freedom=difference.freedom, p=difference.p, low=factor * difference.low, high=factor * difference.high,
    )  # fmt: skip


def seeds_needed(gain: float, variances: Sequence[float], *, p: float = 1 - LEVEL, directions: int = 2) -> int | None:
    """Runs on each side with which a true difference of `gain` is shown at `p` in `POWER` of all tries.

    `variances` are those of the two sides, or the one of differences within pairs. None where `gain` is not positive
    or more than `MAX_SEEDS` would be needed.
    """
    if gain <= 0:
        return None
    total, squares = sum(variances), sum(variance**2 for variance in variances)
    if total <= 0:
        return 2
    number_N = np.arange(2, MAX_SEEDS + 1)
    freedom_N = (total**2 / squares) * (number_N - 1)
    noncentral_N = gain / np.sqrt(total / number_N)
    critical_N = special.stdtrit(freedom_N, 1 - p / directions)
    enough_N = special.nctdtr(freedom_N, noncentral_N, critical_N) <= 1 - POWER
    return int(number_N[np.argmax(enough_N)]) if enough_N.any() else None


def _difference(test: Literal["welch", "paired", "documents"], mean: float, error: float, freedom: float) -> Difference:
    reach = error * float(special.stdtrit(freedom, (1 + LEVEL) / 2))
    return Difference(
        test=test, mean=mean, standard_error=error, freedom=freedom, p=min(1.0, 2 * _tail(-abs(mean), error, freedom)),
        low=mean - reach, high=mean + reach,
    )  # fmt: skip


def _tail(mean: float, error: float, freedom: float) -> float:
    """Probability of a mean this low or lower; where nothing varies it is certain or impossible."""
    if error == 0:
        return 1.0 if mean > 0 else 0.5 if mean == 0 else 0.0
    return float(special.stdtr(freedom, mean / error))
