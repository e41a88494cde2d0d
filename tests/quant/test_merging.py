"""Paths that share their beginnings find what paths on their own find."""

import numpy as np
import pytest

from bytecap.formats.trellis import to_levels
from bytecap.quant.kernels import search_two_sided
from bytecap.quant.merging import CARRIED, MAX_APART, search_merging
from tests.quant.test_kernels import by_hand, column, rounded_along


@pytest.mark.parametrize("states", [4, 16, 64])
def test_same_path_as_on_their_own(states: int) -> None:
    """By hand for a few blocks of rows and a part of one; against the other loop for many, from any state."""
    for rows, top in ((2 * CARRIED + 5, 0), (30 * CARRIED, states - 1)):
        values, steps, V = column(states, rows)
        rd_lambda = np.random.default_rng(0).uniform(0, 0.1, rows).astype(np.float32)
        found, rounded, last = rounded_along(search_merging, (values, steps, V, rd_lambda), states, top)
        wanted, theirs, end = rounded_along(search_two_sided, (values, steps, V, rd_lambda), states, top)
        assert last == end and np.array_equal(found, wanted) and np.array_equal(rounded, theirs)
        if top == 0 and states < 64:
            assert found.tolist() == by_hand(values, steps, V, rd_lambda, states).tolist()


def test_paths_that_stay_apart_for_too_long() -> None:
    """The cheapest beginning is taken for all: integers times steps are the weights, and cost hardly more."""
    rows, states = (MAX_APART + 6) * CARRIED, 256
    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(3 * rows, rows // 8)) @ rng.normal(size=(rows // 8, rows)) + rng.normal(
        size=(3 * rows, rows)
    )
    V = np.linalg.cholesky(np.linalg.inv(mixed.T @ mixed / (3 * rows))).T.astype(np.float32)
    values, steps = (2 * rng.normal(size=rows) * np.diag(V)).astype(np.float32), (0.6 * np.diag(V)).astype(np.float32)
    costs = []
    for search in (search_merging, search_two_sided):
        symbols, rounded, _ = rounded_along(search, (values, steps, V, np.zeros(rows, np.float32)), states)
        assert np.allclose(to_levels(symbols[:, None].astype(np.int16), states)[:, 0] * steps, rounded, rtol=1e-5)
        costs.append(float((np.linalg.solve(V.T.astype(float), (values - rounded).astype(float)) ** 2).sum()))
    assert costs[0] < 1.05 * costs[1]
