"""Factors are those of the adaptive_damping inverse."""

import numpy as np
import pytest

from bytecap.core.errors import NumericsError
from bytecap.quant.factors import MAX_DIRECT, MIN_SINGLE, Factors, build_factors, inverse_factor, inverse_of_upper
from bytecap.quant.statistics import Curvature


def curvature(inputs: int = 6, outputs: int = 4, seed: int = 0) -> Curvature:
    rng = np.random.default_rng(seed)
    x, g = rng.normal(size=(50, inputs)), rng.normal(size=(50, outputs))
    inputs_II, outputs_OO = ((v.T @ v / 50).astype(np.float32) for v in (x, g))
    return Curvature(inputs_II=inputs_II, outputs=outputs_OO, gradient_square=1.0)


def test_against_the_plain_inverse() -> None:
    """UᵀU is the inverse of the adaptive_damping matrix, and U is upper triangular."""
    found = curvature()
    factors = build_factors("m", found, damping=0.1, two_sided=True)
    for factor, matrix in ((factors.inputs, found.inputs_II), (factors.outputs, found.outputs)):
        adaptive_damping = matrix.astype(float) + 0.1 * np.mean(np.diag(matrix)) * np.eye(len(matrix))
        assert np.allclose(factor.T @ factor, np.linalg.inv(adaptive_damping), rtol=1e-9)
        assert np.array_equal(factor, np.triu(factor))
    assert np.array_equal(factors.row_factors_O, np.diag(factors.outputs))
    assert np.array_equal(factors.column_factors_I, np.diag(factors.inputs))
    damped = found.inputs_II.diagonal() + 0.1 * found.inputs_II.diagonal().mean()
    assert np.allclose(factors.inputs_diagonal, damped)
    assert np.allclose(Factors(damped**-0.5, np.ones(4)).inputs_diagonal, damped)


def test_one_side() -> None:
    """Without row feedback a row's factor is one over the root of its adaptive_damping curvature."""
    found = curvature()
    factors = build_factors("m", found, damping=0.1, two_sided=False)
    diagonal = np.diag(found.outputs).astype(float)
    assert np.allclose(factors.outputs, (diagonal + 0.1 * diagonal.mean()) ** -0.5)


def test_dead_inputs() -> None:
    """A column that is never active gets a finite factor, the coarsest of all."""
    inputs = curvature().inputs_II.copy()
    inputs[2], inputs[:, 2] = 0, 0
    factor = np.diag(inverse_factor("m", inputs, 0.01))
    assert np.isfinite(factor).all() and factor.argmax() == 2
    assert np.isfinite(inverse_factor("m", np.zeros((3, 3)), 0.01)).all()


def test_not_positive_definite() -> None:
    """The tensor is named with a way out."""
    with pytest.raises(NumericsError, match=r"curvature of m is not positive definite with damping 0.01"):
        inverse_factor("m", np.array([[1.0, 3.0], [3.0, 1.0]]), 0.01)


def test_parts_have_factors_of_their_own() -> None:
    """And together the steps of rank one that are nearest to them on a logarithmic scale."""
    both = [curvature(seed=seed) for seed in (0, 1)]
    whole = Curvature(
        inputs_II=both[0].inputs_II, outputs=np.ones(8, np.float32), gradient_square=1.0, parts=tuple(both)
    )
    factors = build_factors("m", whole, damping=0.1, two_sided=True)
    assert [here for here, _ in factors.by_part(8)] == [slice(0, 4), slice(4, 8)]
    wanted = []
    for (_, part), one in zip(factors.by_part(8), both, strict=True):
        alone = build_factors("m", one, damping=0.1, two_sided=True)
        assert np.array_equal(part.inputs, alone.inputs) and np.array_equal(part.outputs, alone.outputs)
        wanted.append(np.log(np.outer(alone.row_factors_O, alone.column_factors_I)))
    log = np.concatenate(wanted)
    nearest = log.mean(axis=1, keepdims=True) + log.mean(axis=0) - log.mean()
    assert np.allclose(np.log(np.outer(factors.row_factors_O, factors.column_factors_I)), nearest)
    assert [here for here, part in build_factors("m", both[0], damping=0.1, two_sided=True).by_part(4)] == [slice(0, 4)]


def test_an_inverse_by_halves() -> None:
    """Is that of numpy, and upper triangular."""
    rng = np.random.default_rng(0)
    upper = np.triu(rng.normal(size=(2 * MAX_DIRECT + 3,) * 2)) / 30 + np.eye(2 * MAX_DIRECT + 3)
    found = inverse_of_upper(upper)
    assert np.allclose(found @ upper, np.eye(len(upper)), atol=1e-9) and np.array_equal(found, np.triu(found))


def test_wide_factors_are_kept_at_32_bits() -> None:
    """From `MIN_SINGLE` rows on; UᵀU is the inverse all the same."""
    x = np.random.default_rng(0).normal(size=(2 * MIN_SINGLE, MIN_SINGLE)).astype(np.float32)
    curvature = x.T @ x / len(x)
    factor = inverse_factor("m", curvature, 0.1)
    damped = curvature.astype(np.float64) + 0.1 * np.diagonal(curvature).mean() * np.eye(MIN_SINGLE)
    assert factor.dtype == np.float32 and inverse_factor("m", curvature[:8, :8], 0.1).dtype == np.float64
    assert np.allclose(factor.T @ factor @ damped, np.eye(MIN_SINGLE), atol=1e-4)
