"""What the size search works on: factors that are measured, and steps of what is not."""

import numpy as np
import pytest

from bytecap.core.errors import DataError
from bytecap.fitting.problem import build_problem
from bytecap.fitting.source import WeightSource
from bytecap.quant.allocation import QuantConfig, Shape
from bytecap.quant.rounding import round_with_feedback
from bytecap.quant.statistics import Calibration, Curvature

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def source_with(weights: dict[str, np.ndarray]) -> WeightSource:
    return WeightSource(weights, [Shape(name, "matrix", value.shape) for name, value in weights.items()], "x", None)


def measured(tensors: dict[str, Curvature]) -> Calibration:
    return Calibration(source_digest="x", tokens=1, loss=0.0, unigram=1.0, tensors=tensors)


def curvature(rows: int, columns: int, scale: float = 1.0) -> Curvature:
    return Curvature(
        inputs_II=np.eye(columns, dtype=np.float32), outputs=scale * np.eye(rows, dtype=np.float32), gradient_square=1.0
    )


def relative_step(problem: object, name: str) -> float:
    """The geometric mean of a tensor's steps over the root mean square of its weights."""
    factors, weight = problem.factors[name], problem.weights[name]  # type: ignore[attr-defined]
    step = np.exp(np.log(factors.row_factors_O).mean() + np.log(factors.column_factors_I).mean())
    return float(step / np.sqrt(np.square(weight).mean()))


def test_errors_do_not_outgrow_the_weights() -> None:
    """A weight that hardly matters gets more damping, so that feedback cannot leave errors larger than it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 24)) + 1e-4 * rng.normal(size=(400, 24))
    g = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 20)) * 1e-4
    found = Curvature(
        inputs_II=(x.T @ x / 400).astype(np.float32), outputs=(g.T @ g / 400).astype(np.float32), gradient_square=1.0
    )
    weight = rng.normal(size=(20, 24)).astype(np.float32)
    problem, step_scale = build_problem(source_with({"w": weight}), measured({"w": found}), QuantConfig()), 1e-4
    damped = problem.with_adaptive_damping(step_scale)
    assert problem.with_adaptive_damping(1e-9).factors["w"] is problem.factors["w"]
    errors = []
    for one in (problem, damped):
        factors = one.factors["w"]
        steps = (step_scale * np.outer(factors.row_factors_O, factors.column_factors_I)).astype(np.float32)
        rounded = round_with_feedback(weight, steps, factors, states=8)
        errors.append(np.sqrt(np.square(rounded.weights_OI - weight).mean()))
    assert errors[0] > 1.5 * errors[1] and errors[1] < 1.05 * weight.std(), errors


def test_without_a_calibration_steps_follow_each_matrix() -> None:
    """A matrix a hundred times smaller than its neighbour has steps a hundred times smaller."""
    problem = build_problem(source_with({"up": normal(16, 8), "down": 0.01 * normal(8, 16)}), None, QuantConfig())
    assert np.isclose(relative_step(problem, "up"), relative_step(problem, "down"), rtol=0.1)


def test_what_the_calibration_did_not_reach_has_the_usual_relative_step() -> None:
    """Never used, or used without any gradient: the relative step is the median of those that were measured."""
    weights = {"a": normal(8, 8), "never_used": 30 * normal(8, 8), "no_gradient": 0.1 * normal(8, 8)}
    known = {"a": curvature(8, 8), "no_gradient": curvature(8, 8, scale=0.0)}
    problem = build_problem(source_with(weights), measured(known), QuantConfig())
    for name in ("never_used", "no_gradient"):
        assert np.isclose(relative_step(problem, name), relative_step(problem, "a"), rtol=1e-3), name


def test_damping_leaves_alone_what_was_not_measured() -> None:
    """However coarse the steps are, relative steps stay relative."""
    weights = {"a": normal(8, 8), "no_gradient": 0.1 * normal(8, 8)}
    known = {"a": curvature(8, 8), "no_gradient": curvature(8, 8, scale=0.0)}
    problem = build_problem(source_with(weights), measured(known), QuantConfig())
    assert problem.with_adaptive_damping(1.0).factors["no_gradient"] is problem.factors["no_gradient"]


def test_zero_weights_are_no_obstacle() -> None:
    """A matrix of zeros, as a fresh model has, is planned like any other."""
    weights = {"a": normal(8, 8), "zero": np.zeros((8, 8), np.float32)}
    for known in (None, measured({name: curvature(8, 8) for name in weights})):
        problem = build_problem(source_with(weights), known, QuantConfig())
        assert set(problem.factors) == {"a", "zero"}
        assert all(np.isfinite(tensor.base) and tensor.base > 0 for tensor in problem.plan(0.1).tensors)


def test_a_calibration_of_other_shapes() -> None:
    """Refused by the name of the tensor, before anything is multiplied."""
    source = source_with({"w": normal(4, 6)})
    with pytest.raises(DataError, match=r"shape \(4, 5\) for w, which is \(4, 6\); delete"):
        build_problem(source, measured({"w": curvature(4, 5)}), QuantConfig())


def test_a_role_without_a_rule_is_an_error() -> None:
    """Named with its tensors, instead of being fitted by somebody else's rule."""
    source = WeightSource({"a": normal(2, 3)}, [Shape("a", "router", (2, 3))], "x", None)
    with pytest.raises(TypeError, match=r"fitting/problem\.py has no entry for the role router of a; add one"):
        build_problem(source, None, QuantConfig())
