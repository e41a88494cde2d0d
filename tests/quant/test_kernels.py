"""Compiled loops against plain ones: the best path is the best of all paths."""

import itertools

import numpy as np
import pytest

from bytecap.grids.trellis import levels_of, next_states
from bytecap.quant.kernels import nearest_level, round_trellis, round_trellis_two_sided

LEVELS = {
    (grid, parity): [(2 * k - grid * (k > 0) + grid * (k < 0), k) for k in range(-9, 10) if k % 2 == parity]
    for grid in (0, 1)
    for parity in (0, 1)
}


def test_nearest_level() -> None:
    """No level of the same grid and parity is nearer."""
    for x in np.linspace(-13, 13, 1041):
        for (grid, parity), levels in LEVELS.items():
            level, symbol = nearest_level(x, grid, parity)
            assert (level, symbol) in levels
            assert abs(x - level) <= min(abs(x - other) for other, _ in levels) + 1e-12


def paths(values: np.ndarray, steps: np.ndarray, states: int, cost: object) -> float:
    """Least cost over every sequence of parities, levels chosen nearest: exhaustive."""
    table, best = next_states(states), np.inf
    for parities in itertools.product((0, 1), repeat=len(values)):
        best = min(best, cost(parities, table))  # type: ignore[operator]
    return float(best)


@pytest.mark.parametrize("states", [4, 8])
def test_one_sided_path_is_the_best_of_all(states: int) -> None:
    """Weighted squared error plus rate, over all 2^9 paths."""
    rng = np.random.default_rng(states)
    values, steps = rng.normal(size=9).astype(np.float32) * 3, rng.uniform(0.5, 1.5, 9).astype(np.float32)
    weight, rate = rng.uniform(0.1, 2, 9).astype(np.float32), rng.uniform(0, 0.3, 9).astype(np.float32)

    def cost(parities: tuple[int, ...], table: np.ndarray) -> float:
        state, total = 0, 0.0
        for i, parity in enumerate(parities):
            level, symbol = nearest_level(float(values[i] / steps[i]), state & 1, parity)
            total += weight[i] * (values[i] - level * steps[i]) ** 2 + rate[i] * abs(symbol)
            state = table[state, parity]
        return total

    symbols, rounded = np.zeros(9, np.int64), np.zeros(9, np.float32)
    round_trellis(values, steps, weight, rate, next_states(states).astype(np.int64), symbols, rounded)
    found = (weight * (values - rounded) ** 2 + rate * np.abs(symbols)).sum()
    assert found == pytest.approx(paths(values, steps, states, cost), rel=1e-4)
    assert np.allclose(levels_of(symbols[:, None].astype(np.int16), states)[:, 0] * steps, rounded)


def test_two_sided_path_carries_errors_down() -> None:
    """Following the chosen path by hand gives its rounded values; it is no worse than greedy and near the best."""
    rng = np.random.default_rng(1)
    rows, states = 9, 8
    noise = rng.normal(size=(30, rows))
    V = np.linalg.cholesky(np.linalg.inv(noise.T @ noise / 30)).T.astype(np.float32)
    values = rng.normal(size=rows).astype(np.float32) * 3
    steps = (0.6 * np.diag(V)).astype(np.float32)

    def cost(parities: tuple[int, ...], table: np.ndarray) -> float:
        state, total, open_values = 0, 0.0, values.astype(float)
        for i, parity in enumerate(parities):
            level, _ = nearest_level(float(open_values[i] / steps[i]), state & 1, parity)
            error = (open_values[i] - level * steps[i]) / V[i, i]
            total += error**2
            open_values = open_values - error * V[i] * (np.arange(rows) > i)
            state = table[state, parity]
        return total

    symbols, rounded = np.zeros(rows, np.int64), np.zeros(rows, np.float32)
    none = np.zeros(rows, np.float32)
    table = next_states(states).astype(np.int64)
    round_trellis_two_sided(values, steps, V, none, table, symbols, rounded)
    assert np.allclose(levels_of(symbols[:, None].astype(np.int16), states)[:, 0] * steps, rounded)
    taken = cost(tuple((symbols & 1).tolist()), table)
    best = paths(values, steps, states, cost)
    metric = np.linalg.inv((V.T @ V).astype(float))  # the whole loss of the column
    error = (values - rounded).astype(float)
    assert taken == pytest.approx(error @ metric @ error, rel=1e-3)
    assert best - 1e-6 <= taken <= 1.3 * best
