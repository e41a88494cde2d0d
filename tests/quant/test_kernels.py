"""Compiled loops against plain ones: the best path is the best of all paths, and errors are carried as by hand."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from bytecap.formats.trellis import CODES, next_states, to_levels
from bytecap.quant.kernels import search_one_sided, search_two_sided
from bytecap.quant.merging import CARRIED
from bytecap.quant.viterbi import begin_paths, trace_back

LEVELS = {
    (grid, parity): [(2 * k - grid * (k > 0) + grid * (k < 0), k) for k in range(-40, 41) if k % 2 == parity]
    for grid in (0, 1)
    for parity in (0, 1)
}
"""By grid and parity every level with its integer."""


def nearest(x: float, grid: int, parity: int) -> tuple[int, int]:
    """(level, integer) by looking at all of them."""
    return min(LEVELS[grid, parity], key=lambda entry: (x - entry[0]) ** 2)


def paths(values: np.ndarray, steps: np.ndarray, states: int, cost: object) -> float:
    """Least cost over every sequence of parities, levels chosen nearest: exhaustive."""
    table, best = next_states(states), np.inf
    for parities in itertools.product((0, 1), repeat=len(values)):
        best = min(best, cost(parities, table))  # type: ignore[operator]
    return float(best)


def rounded_along(
    search: Callable[..., None], column: Sequence[np.ndarray], states: int, top: int = 0
) -> tuple[np.ndarray, np.ndarray, int]:
    """Integers and rounded values of the cheapest path that a search finds for a column, and the state at its end."""
    paths = begin_paths(next_states(states).astype(np.int64), top, len(column[0]))
    search(*column, paths)
    symbols, rounded = np.zeros(len(column[0]), np.int64), np.zeros(len(column[0]), np.float32)
    return symbols, rounded, trace_back(paths, column[1], symbols, rounded)


@pytest.mark.parametrize("states", [4, 8])
def test_one_sided_path_is_the_best_of_all(states: int) -> None:
    """Weighted squared error plus rd_lambda, over all 2^9 paths."""
    rng = np.random.default_rng(states)
    values, steps = rng.normal(size=9).astype(np.float32) * 3, rng.uniform(0.5, 1.5, 9).astype(np.float32)
    weight, rd_lambda = rng.uniform(0.1, 2, 9).astype(np.float32), rng.uniform(0, 0.3, 9).astype(np.float32)

    def cost(parities: tuple[int, ...], table: np.ndarray) -> float:
        state, total = 0, 0.0
        for i, parity in enumerate(parities):
            level, symbol = nearest(float(values[i] / steps[i]), state & 1, parity)
            total += weight[i] * (values[i] - level * steps[i]) ** 2 + rd_lambda[i] * abs(symbol)
            state = table[state, parity]
        return total

    symbols, rounded, _ = rounded_along(search_one_sided, (values, steps, weight, rd_lambda), states)
    found = (weight * (values - rounded) ** 2 + rd_lambda * np.abs(symbols)).sum()
    assert found == pytest.approx(paths(values, steps, states, cost), rel=1e-4)
    assert np.allclose(to_levels(symbols[:, None].astype(np.int16), states)[:, 0] * steps, rounded)


def column(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, steps and V of correlated rows."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(4 * rows, rows)) + rng.normal(size=(4 * rows, 1))
    V = np.linalg.cholesky(np.linalg.inv(noise.T @ noise / (4 * rows))).T.astype(np.float32)
    values = (rng.normal(size=rows) * 3 * np.diag(V)).astype(np.float32)
    return values, (0.6 * np.diag(V)).astype(np.float32), V


def by_hand(values: np.ndarray, steps: np.ndarray, V: np.ndarray, rd_lambda: np.ndarray, states: int) -> np.ndarray:
    """Viterbi's search, every survivor a list of integers with its own values to round; the integers of the best."""
    table = next_states(states)
    alive: dict[int, tuple[float, list[int], np.ndarray]] = {0: (0.0, [], values.astype(np.float64))}
    for i in range(len(values)):
        following: dict[int, tuple[float, list[int], np.ndarray]] = {}
        for state, (total, symbols, open_values) in alive.items():
            for parity in (0, 1):
                level, symbol = nearest(open_values[i] / steps[i], state & 1, parity)
                error = (open_values[i] - level * steps[i]) / V[i, i]
                cost, b = total + error**2 + rd_lambda[i] * abs(symbol), int(table[state, parity])
                if b not in following or cost < following[b][0]:
                    left = open_values - error * V[i] * (np.arange(len(values)) > i)
                    following[b] = cost, [*symbols, symbol], left
        alive = following
    return np.array(min(alive.values(), key=lambda entry: entry[0])[1])


@pytest.mark.slow
@pytest.mark.parametrize("states", CODES)
def test_two_sided_path_by_hand(states: int) -> None:
    """The same integers as the slow search, over several blocks of carried rows and a part of one, with a rd_lambda."""
    rows = 2 * CARRIED + 5
    values, steps, V = column(states, rows)
    rd_lambda = np.random.default_rng(0).uniform(0, 0.1, rows).astype(np.float32)
    symbols, rounded, _ = rounded_along(search_two_sided, (values, steps, V, rd_lambda), states)
    assert symbols.tolist() == by_hand(values, steps, V, rd_lambda, states).tolist()
    assert np.allclose(to_levels(symbols[:, None].astype(np.int16), states)[:, 0] * steps, rounded)


def test_two_sided_path_is_near_the_best_of_all() -> None:
    """The whole loss of a column is the sum of its errors; survivors lose at most a third against all 2^9 paths."""
    values, steps, V = column(1, 9)

    def cost(parities: tuple[int, ...], table: np.ndarray) -> float:
        state, total, open_values = 0, 0.0, values.astype(float)
        for i, parity in enumerate(parities):
            level, _ = nearest(float(open_values[i] / steps[i]), state & 1, parity)
            error = (open_values[i] - level * steps[i]) / V[i, i]
            total += error**2
            open_values = open_values - error * V[i] * (np.arange(len(values)) > i)
            state = table[state, parity]
        return total

    symbols, rounded, _ = rounded_along(search_two_sided, (values, steps, V, np.zeros(9, np.float32)), 8)
    taken = cost(tuple((symbols & 1).tolist()), next_states(8))
    metric = np.linalg.inv((V.T @ V).astype(float))
    error = (values - rounded).astype(float)
    assert taken == pytest.approx(error @ metric @ error, rel=1e-3)
    assert paths(values, steps, 8, cost) - 1e-6 <= taken <= 1.3 * paths(values, steps, 8, cost)
