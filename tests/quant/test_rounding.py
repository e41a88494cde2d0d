"""Blocked, compiled feedback against one column after the other, and the loss that it promises."""

import itertools

import numpy as np
import pytest

from bytecap.formats.steps import make_steps, nearest_codes
from bytecap.formats.trellis import to_levels
from bytecap.quant.factors import Factors, inverse_factor
from bytecap.quant.rounding import round_with_feedback, round_without_feedback


def problem(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Weight, steps, U, V, A, G (adaptive_damping as the factors are)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4 * columns, columns)) @ rng.normal(size=(columns, columns))
    g = rng.normal(size=(4 * rows, rows)) @ rng.normal(size=(rows, rows)) * 0.1
    curvatures = [m.T @ m / len(m) for m in (x, g)]
    A, G = (c + 0.01 * np.mean(np.diag(c)) * np.eye(len(c)) for c in curvatures)
    U, V = (inverse_factor("m", c, 0.01) for c in curvatures)
    weight = rng.normal(size=(rows, columns)).astype(np.float32)
    steps = (0.05 * np.outer(np.diag(V), np.diag(U))).astype(np.float32)
    return weight, steps * (0.3 / np.median(steps)).astype(np.float32), U, V, A, G


def slow_scalar(weight: np.ndarray, steps: np.ndarray, A: np.ndarray) -> np.ndarray:
    """Column by column: round, then move every later column by the least-squares forward_fn to the error so far.

    This is what GPTQ computes, with a fresh solution at each column instead of factors.
    """
    values = weight.astype(float)
    rounded = np.zeros_like(values)
    columns = values.shape[1]
    for j in range(columns):
        rounded[:, j] = np.rint(values[:, j] / steps[:, j]) * steps[:, j]
        error = values[:, j] - rounded[:, j]
        rest = slice(j + 1, columns)
        values[:, rest] += np.outer(error, np.linalg.solve(A[rest, rest], A[rest, j]))
    return rounded


def test_scalar_against_column_by_column() -> None:
    """150 columns are three blocks; a weight near the middle of two integers may fall either way."""
    weight, steps, U, _V, A, _ = problem(12, 150)
    found = round_with_feedback(weight, steps, Factors(U, np.ones(12)), states=1).weights_OI
    slow = slow_scalar(weight, steps, A)
    assert np.mean(np.isclose(found, slow, rtol=1e-4, atol=1e-6)) > 0.98
    loss = [
        np.einsum("oi,ij,oj", e, A, e)
        for e in (weight - found, weight - slow, weight - np.rint(weight / steps) * steps)
    ]
    assert loss[0] == pytest.approx(loss[1], rel=0.02) and loss[0] < 0.5 * loss[2]


@pytest.mark.parametrize("states", [1, 8])
@pytest.mark.parametrize("two_sided", [False, True])
def test_promised_loss_is_the_real_one(states: int, two_sided: bool) -> None:
    """Σ e² / (2 V² U²) equals ½ tr(G E A Eᵀ); integers times steps are the weights."""
    weight, steps, U, V, A, G = problem(20, 90)
    outputs = V if two_sided else np.diag(G) ** -0.5
    metric = G if two_sided else np.diag(np.diag(G))
    found = round_with_feedback(weight, steps, Factors(U, outputs), states=states)
    error = (weight - found.weights_OI).astype(float)
    assert found.loss == pytest.approx(0.5 * np.trace(metric @ error @ A @ error.T), rel=2e-3)
    assert np.allclose(to_levels(found.symbols_OI, states) * steps, found.weights_OI, rtol=1e-6)


def test_each_refinement_pays() -> None:
    """At equal entropy: feedback, then curvature steps, then a trellis, then a second side, each lowers the loss."""
    weight, _steps, U, V, A, G = problem(48, 160)
    _rows, row_codes = nearest_codes(np.diag(V))
    _columns, column_codes = nearest_codes(np.diag(U))
    two_steps = make_steps(1.0, row_codes, column_codes)
    one_steps = make_steps(1.0, nearest_codes(np.diag(G) ** -0.5)[1], column_codes)
    flat = np.ones_like(weight)

    def at(bits: float, shape: np.ndarray, outputs: np.ndarray, states: int, U: np.ndarray) -> float:
        """Loss where log2 of the mean integer says `bits`, each weight's own scale known to the coder."""
        scale = 0.2
        for _ in range(12):
            found = round_with_feedback(weight, (scale * shape).astype(np.float32), Factors(U, outputs), states=states)
            rd_lambda = float(np.mean(np.log2(np.maximum(1.0 / (scale * shape * (1 if states == 1 else 2)), 1e-9))))
            scale *= 2.0 ** (rd_lambda - bits)
        error = (weight - found.weights_OI).astype(float)
        return 0.5 * float(np.trace(G @ error @ A @ error.T))

    none = np.eye(160)
    losses = [
        at(1.5, flat, np.ones(48), 1, none),
        at(1.5, flat, np.ones(48), 1, U),
        at(1.5, one_steps, np.diag(G) ** -0.5, 1, U),
        at(1.5, two_steps, V, 1, U),
        at(1.5, two_steps, V, 8, U),
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(losses)), losses


def test_without_feedback() -> None:
    """Scalar: the nearest integer. Trellis: about as many bits as with feedback."""
    weight, steps, U, V, *_ = problem(30, 40)
    assert np.array_equal(round_without_feedback(weight, steps, 1), np.rint(weight / steps).astype(np.int16))
    alone = np.abs(round_without_feedback(weight, steps, 8)).mean()
    assert alone == pytest.approx(
        np.abs(round_with_feedback(weight, steps, Factors(U, V), states=8).symbols_OI).mean(), rel=0.2
    )


def test_diagonal_inputs_are_the_matrix_without_feedback() -> None:
    """A factor given by its diagonal rounds to the same as the diagonal matrix."""
    rng = np.random.default_rng(3)
    weight, steps = rng.standard_normal((6, 300)).astype(np.float32), np.full((6, 300), 0.3, np.float32)
    diagonal, rows = rng.uniform(0.5, 2, 300), np.ones(6)
    short = round_with_feedback(weight, steps, Factors(diagonal, rows), states=4)
    long = round_with_feedback(weight, steps, Factors(np.diag(diagonal), rows), states=4)
    assert np.array_equal(short.symbols_OI, long.symbols_OI)
    assert short.loss == pytest.approx(long.loss)


@pytest.mark.parametrize(("size", "repeats"), [(9, 17), (70, 3)])
def test_a_block_that_repeats_is_the_whole_factor(size: int, repeats: int) -> None:
    """Blocks narrower and wider than the columns rounded at once; a weight in the middle may fall either way."""
    _, _, block, *_ = problem(12, size)
    weight = np.random.default_rng(1).normal(size=(12, size * repeats)).astype(np.float32)
    steps = np.tile((0.3 * np.diag(block) / np.diag(block).mean()).astype(np.float32), (12, repeats))
    short, rows = Factors(block, np.ones(12), repeats=repeats), np.ones(12)
    long = Factors(np.kron(np.eye(repeats), block), rows)
    assert np.array_equal(short.column_factors_I, long.column_factors_I)
    found, whole = (round_with_feedback(weight, steps, factors, states=8) for factors in (short, long))
    assert np.mean(found.symbols_OI == whole.symbols_OI) > 0.98
    assert found.loss == pytest.approx(whole.loss, rel=0.01)
    error = weight - found.weights_OI
    assert short.loss(error) == pytest.approx(long.loss(error)) == pytest.approx(found.loss, rel=1e-3)


def test_a_column_in_two_goes() -> None:
    """Rounding the rows below with the states in which those above ended gives the levels of one path."""
    weight, steps, U, *_ = problem(20, 30)
    state, parts = np.zeros(30, np.int64), []
    for rows in (slice(0, 12), slice(12, 20)):
        parts.append(
            round_with_feedback(
                weight[rows], steps[rows], Factors(U, np.ones(len(weight[rows]))), states=8, state_I=state
            )
        )
    symbols, weights = (
        np.concatenate(both) for both in zip(*[(p.symbols_OI, p.weights_OI) for p in parts], strict=True)
    )
    assert np.allclose(to_levels(symbols, 8) * steps, weights, rtol=1e-6) and state.any()
