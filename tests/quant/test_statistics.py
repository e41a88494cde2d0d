"""The curvature of a weight that is stored once for two places."""

import dataclasses

import numpy as np
import pytest

from bytecap.quant.statistics import Calibration, Curvature, add_curvatures


def moments(rng: np.random.Generator, size: int) -> np.ndarray:
    """A second moment of random vectors."""
    rows = rng.normal(size=(3 * size, size)) * rng.uniform(0.1, 3, size)
    return (rows.T @ rows / len(rows)).astype(np.float32)


def curvature(inputs: np.ndarray, outputs: np.ndarray) -> Curvature:
    return Curvature(inputs_II=inputs, outputs=outputs, gradient_square=1.0)


def loss(one: Curvature, error: np.ndarray) -> float:
    """½ tr(G E A Eᵀ), number by number."""
    a, g = (np.diag(m) if m.ndim == 1 else m for m in (one.inputs_II, one.outputs))
    return 0.5 * sum(
        float(g[i, j] * error[j, k] * a[k, m] * error[i, m])
        for i in range(len(g)) for j in range(len(g)) for k in range(len(a)) for m in range(len(a))
    )  # fmt: skip


@pytest.mark.parametrize("alike", ["inputs", "outputs"])
@pytest.mark.parametrize("diagonal", [False, True])
def test_sum_of_two_places(alike: str, diagonal: bool) -> None:
    """The loss of one error in both places, where one side is the same up to a factor."""
    rng = np.random.default_rng(0)
    a, b, g, h = moments(rng, 4), moments(rng, 4), moments(rng, 3), moments(rng, 3)
    if alike == "inputs":
        b = 5 * a
    else:
        h = 0.2 * g
    if diagonal:
        a, b = np.diagonal(a).copy(), np.diagonal(b).copy()
    one, other = curvature(a, g), curvature(b, h)
    for _ in range(5):
        error = rng.normal(size=(3, 4))
        wanted = loss(one, error) + loss(other, error)
        assert loss(add_curvatures(one, other), error) == pytest.approx(wanted, rel=1e-5)


def test_where_only_diagonals_are_known() -> None:
    """A matrix and a diagonal add up to a diagonal; a place without loss adds nothing."""
    rng = np.random.default_rng(0)
    whole = curvature(moments(rng, 4), moments(rng, 3))
    sides = curvature(np.diagonal(whole.inputs_II).copy(), np.diagonal(whole.outputs).copy())
    both = add_curvatures(whole, sides)
    wanted = 2 * np.outer(sides.outputs, sides.inputs_II)
    assert np.allclose(np.outer(both.outputs, both.inputs_II), wanted, rtol=1e-5)
    experts = dataclasses.replace(sides, parts=(whole, sides))
    assert [len(found.parts) for found in (add_curvatures(experts, experts), add_curvatures(experts, sides))] == [2, 0]
    dead = curvature(np.zeros((4, 4), np.float32), whole.outputs)
    assert add_curvatures(whole, dead) is whole and add_curvatures(dead, whole) is whole


def test_a_calibration_of_what_is_stored_once() -> None:
    """Further names are gone and count under the first one, which may be known by them alone."""
    one = curvature(np.ones(2, np.float32), np.ones(3, np.float32))
    known = Calibration(
        source_digest="", tokens=1, loss=0.0, unigram=1.0, tensors={"a": one, "b": one, "d": one},
        vectors={"v": 2.0, "w": 3.0, "x": 1.0},
    )  # fmt: skip
    found = known.stored_once({"b": "a", "d": "c", "w": "v"})
    assert set(found.tensors) == {"a", "c"} and found.vectors == {"v": 5.0, "x": 1.0}
    twice = found.tensors["a"]
    assert np.allclose(np.outer(twice.outputs, twice.inputs_II), 2)
