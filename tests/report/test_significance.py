"""Tests and intervals against the formulas written out, a permutation test, and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from bytecap.report.significance import (
    Difference,
    over_documents,
    paired,
    scaled,
    seeds_needed,
    welch,
)

OURS, THEIRS = [1.10, 1.13, 1.09, 1.12], [1.16, 1.14, 1.19]


def sure(difference: Difference | None) -> Difference:
    assert difference is not None
    return difference


def test_welch_written_out() -> None:
    """The statistic and the degrees of freedom of the paper, and what scipy's own test gives."""
    found = sure(welch(OURS, THEIRS))
    mean = [sum(side) / len(side) for side in (OURS, THEIRS)]
    variance = [sum((x - m) ** 2 for x in side) / (len(side) - 1) for side, m in zip((OURS, THEIRS), mean, strict=True)]
    a, b = variance[0] / 4, variance[1] / 3
    assert found.mean == pytest.approx(mean[0] - mean[1]) and found.standard_error == pytest.approx(math.sqrt(a + b))
    assert found.freedom == pytest.approx((a + b) ** 2 / (a**2 / 3 + b**2 / 2))
    theirs = stats.ttest_ind(OURS, THEIRS, equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))
    for margin in (0.0, 0.02, 0.2):
        one_way = stats.ttest_ind(np.array(OURS) + margin, THEIRS, equal_var=False, alternative="less")
        assert found.p_lower_by(margin) == pytest.approx(one_way.pvalue)


def test_paired_written_out() -> None:
    """The mean of differences over its error."""
    other = [1.11, 1.15, 1.10, 1.15]
    found, theirs = sure(paired(OURS, other)), stats.ttest_rel(OURS, other)
    differences = [x - y for x, y in zip(OURS, other, strict=True)]
    mean = sum(differences) / 4
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / 3 / 4)
    assert (found.mean, found.standard_error, found.freedom) == pytest.approx((mean, error, 3))
    assert found.p == pytest.approx(theirs.pvalue) and found.is_clear == (found.p < 0.05)


def test_permutations_agree() -> None:
    """With normal numbers the share of permutations that are as extreme is close to p."""
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(0.0, 1.0, 20), rng.normal(0.6, 1.0, 20)
    together, measured = np.concatenate([ours, theirs]), abs(ours.mean() - theirs.mean())
    shuffled = np.array([rng.permutation(together) for _ in range(20_000)])
    share = (np.abs(shuffled[:, :20].mean(1) - shuffled[:, 20:].mean(1)) >= measured).mean()
    assert sure(welch(ours.tolist(), theirs.tolist())).p == pytest.approx(share, rel=0.15, abs=0.005)
    # pairs: every sign of every difference
    other = ours[:12] - rng.normal(0.3, 0.5, 12)
    difference = ours[:12] - other
    signs = np.array(list(itertools.product([-1, 1], repeat=12)))
    share = (np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12).mean()
    assert sure(paired(ours[:12].tolist(), other.tolist())).p == pytest.approx(share, rel=0.15, abs=0.005)


@pytest.mark.parametrize("counts", [(3, 3), (5, 3), (10, 10)])
def test_intervals_hold_the_truth(counts: tuple[int, int]) -> None:
    """In 19 of 20 repetitions, also where one side varies three times as much."""
    rng, held = np.random.default_rng(4), 0
    for _ in range(4000):
        ours, theirs = rng.normal(0.0, 3.0, counts[0]), rng.normal(0.5, 1.0, counts[1])
        found = sure(welch(ours.tolist(), theirs.tolist()))
        held += found.low <= -0.5 <= found.high
    assert held / 4000 == pytest.approx(0.95, abs=0.02)


def test_documents_written_out_and_covered() -> None:
    """The ratio of sums with the error of its residuals; its interval holds the truth where lengths are very uneven."""
    rng, held, tries = np.random.default_rng(5), 0, 3000
    for _ in range(tries):
        amount_D = np.ceil(rng.lognormal(6.0, 1.0, 60))
        true_rate_D = rng.normal(-0.02, 0.03, 60)  # what one side gains for each byte of a document
        theirs_D = amount_D * rng.uniform(0.5, 1.5, 60)
        found = sure(over_documents(theirs_D + true_rate_D * amount_D, theirs_D, amount_D))
        held += found.low <= -0.02 <= found.high
    assert 0.92 < held / tries < 0.97
    ratio = (true_rate_D * amount_D).sum() / amount_D.sum()
    slow = math.fsum((r * b - ratio * b) ** 2 for r, b in zip(true_rate_D, amount_D, strict=True))
    assert found.mean == pytest.approx(ratio) and found.freedom == 59
    assert found.standard_error == pytest.approx(math.sqrt(60 / 59 * slow) / amount_D.sum())
    doubled = scaled(found, 2.0)
    assert (doubled.mean, doubled.high, doubled.p) == (2 * found.mean, 2 * found.high, found.p)


def test_seeds_needed_are_needed() -> None:
    """With so many on each side four tries in five show the difference, with two fewer they do not."""
    needed = seeds_needed(1.0, [1.0, 0.36])
    assert needed is not None and 9 <= needed <= 14
    rng, shown = np.random.default_rng(6), {}
    for count in (needed - 2, needed):
        ours, theirs = rng.normal(0.0, 1.0, (4000, count)), rng.normal(1.0, 0.6, (4000, count))
        shown[count] = float((stats.ttest_ind(ours, theirs, axis=1, equal_var=False).pvalue < 0.05).mean())
    assert shown[needed] == pytest.approx(0.8, abs=0.03) and shown[needed - 2] < 0.8
    pairs = seeds_needed(1.0, [1.0])
    assert pairs is not None and 9 <= pairs <= 11
    assert seeds_needed(1.0, [1.0, 1.0], p=0.01, directions=1) == pytest.approx(22, abs=2)


def test_degenerate_samples_give_none_or_certainty() -> None:
    """What cannot be asked gives None; what does not vary is certain."""
    assert welch([1.0], [1.0, 2.0]) is None and paired([1.0], [2.0]) is None
    assert over_documents(np.ones(1), np.ones(1), np.ones(1)) is None
    assert seeds_needed(0.0, [1.0, 1.0]) is None and seeds_needed(1e-6, [1.0, 1.0]) is None
    assert seeds_needed(1.0, [0.0, 0.0]) == 2 and seeds_needed(100.0, [1.0, 1.0]) == 2
    same, apart = sure(welch([1.0, 1.0], [1.0, 1.0])), sure(welch([1.0, 1.0], [2.0, 2.0]))
    assert (same.p, same.is_clear) == (1.0, False) and (apart.p, apart.is_clear, apart.low) == (0.0, True, -1.0)
    assert apart.p_lower_by(2.0) == 1.0
