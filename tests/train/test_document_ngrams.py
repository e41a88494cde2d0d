"""The mixture with n-grams of a document equals one that searches the whole text for every context."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from bytecap.train.document_ngrams import CONSTANTS, ORDERS, document_mixture

BOS = 0


def slow_mixture(token_L: npt.NDArray[np.int64], i: int) -> tuple[float, float]:
    """Share and added part of the target at i."""
    ids = token_L.tolist()
    begin = max([0, *(j for j in range(i) if ids[j] == BOS)])
    share, added = 1.0, 0.0
    for order, constant in zip(ORDERS, CONSTANTS, strict=True):
        followers = [ids[j] for j in range(begin + order, i) if ids[j - order : j] == ids[i - order : i]]
        if i - begin >= order and followers:
            n = len(followers)
            weight = n / (n + constant * len(set(followers)))
            share, added = (1 - weight) * share, (1 - weight) * added + weight * followers.count(ids[i]) / n
    return share, added


@pytest.mark.parametrize("first", [1, 60])
def test_equals_a_slow_search(first: int) -> None:
    """Few tokens, several documents; the first begins before the text or with it."""
    token_L = np.random.default_rng(first).integers(0, 5, 150)
    token_L[:70] += token_L[:70] == BOS  # one that is longer
    share_T, added_T = document_mixture(token_L, first, BOS)
    expected = [slow_mixture(token_L, i) for i in range(first, len(token_L))]
    np.testing.assert_allclose(np.stack([share_T, added_T], axis=1), expected, atol=1e-6)
    assert (share_T + added_T <= 1 + 1e-6).all() and (share_T < 1).any()


def test_a_mixture_is_a_distribution() -> None:
    """Shares and parts of all tokens that may come next sum to one."""
    token_L = np.random.default_rng(3).integers(1, 6, 80)
    added = 0.0
    for token in range(6):
        token_L[-1] = token
        share_T, added_T = document_mixture(token_L, 79, BOS)
        added += float(added_T[0])
    assert added + float(share_T[0]) == pytest.approx(1.0)
