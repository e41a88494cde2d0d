"""What is rounded in which turn, and what becomes of the rest in between."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bytecap.core.progress import Silent
from bytecap.fitting.problem import FitProblem, build_problem
from bytecap.fitting.refine import Candidates
from bytecap.fitting.sequential import round_compensated, round_sequentially
from bytecap.fitting.source import WeightSource
from bytecap.quant.allocation import STEP_MSE, QuantConfig, Shape
from bytecap.quant.statistics import Calibration, Curvature

SIZES = {"tokens": (40, 8), "small": (8, 8), "second": (16, 16), "first": (16, 8), "beside": (4, 8)}


def problem() -> FitProblem:
    """A table of tokens, four matrices with curvature and a vector."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SIZES.items()}
    tensors = {}
    for name, (rows, columns) in SIZES.items():
        x, g = rng.normal(size=(99, columns)).astype(np.float32), rng.normal(size=(99, rows)).astype(np.float32)
        A, G = ((both.T @ both / 99).astype(np.float32) for both in (x, g))
        tensors[name] = Curvature(inputs_II=A, outputs=G, gradient_square=1.0)
    weights["vector"] = rng.normal(size=5).astype(np.float32)
    roles = {"tokens": "embedding", "vector": "scalar"}
    shapes = [Shape(name, roles.get(name, "matrix"), value.shape) for name, value in weights.items()]
    calibration = Calibration(source_digest="x", tokens=99, loss=0.0, unigram=1.0, tensors=tensors)
    return build_problem(WeightSource(weights, shapes, "x", None), calibration, QuantConfig(states=8))


def candidates() -> Candidates:
    """Of a file that nobody packs."""
    return Candidates(2_000, lambda model: b"", 0.0)


class Trainer:
    """Adds one to all that is left, and notes the turns."""

    def __init__(self) -> None:
        self.weights = {name: value.copy() for name, value in problem().weights.items()}
        self.turns = list[str]()

    def __call__(self, name: str, value: np.ndarray, errors: Mapping[str, float]) -> dict[str, np.ndarray]:
        assert np.square(value - self.weights.pop(name)).mean() < 0.02  # as it is by then
        assert errors.keys() == self.weights.keys() - {"vector"}
        self.turns.append(name)
        self.weights = {left: weight + 1 for left, weight in self.weights.items()}
        return self.weights

    def divergence(self, weights: Mapping[str, np.ndarray]) -> float:
        return 0.0


def test_the_largest_first() -> None:
    """Each as the turns before have left it; vectors, which change in every turn, are last. All stand in the order of
    the file."""
    one, hand, some = problem(), Trainer(), candidates()
    weights, order, finer = round_sequentially(one, one.plan(0.05), some, hand, Silent())
    assert hand.turns == ["tokens", "second", "first", "small", "beside"]
    assert order == hand.turns[::-1] and finer != 0
    assert list(some.current) == list(one.weights)
    assert np.array_equal(weights["vector"], one.weights["vector"] + 5)
    assert np.square(some.current["vector"].stored.weights() - weights["vector"]).mean() < 1e-4


class Corrector:
    """Adds one to each group before it is rounded, and notes what that is said to be worth."""

    def __init__(self) -> None:
        names = (["first", "beside"], ["not in the file"], ["second"])
        self.groups = [[SimpleNamespace(name=name) for name in group] for group in names]
        self.weights = {name: value.copy() for name, value in problem().weights.items()}
        self.turns, self.gains = list[list[str]](), dict[str, float]()

    def fix(self, rounded: Mapping[str, np.ndarray]) -> None:
        self.turns.append(sorted(rounded))
        assert all(np.square(value - self.weights[name]).mean() < 0.02 for name, value in rounded.items())

    def divergence(self, weights: Mapping[str, np.ndarray]) -> float:
        return 0.0

    def corrected(self, group: list[Any], gain: Any) -> dict[str, np.ndarray]:
        for entry in group:
            weight = self.weights[entry.name]
            change, inputs = np.full(weight.shape, 0.5), np.eye(weight.shape[1])
            self.gains[entry.name] = gain(entry.name, change, np.zeros(weight.shape), inputs)
            self.weights[entry.name] = weight + 1
        return {entry.name: self.weights[entry.name] for entry in group}


def test_corrections_in_the_order_of_the_pass() -> None:
    """After all that is no linear map. The loss falls by tr(G δ (C - ½ δ X)ᵀ), less the price of the bits that larger
    weights take, written out."""
    one, hand, some = problem(), Corrector(), candidates()
    plan = one.plan(0.05)
    _, order = round_compensated(one, plan, some, hand, Silent())
    assert hand.turns == [["small", "tokens", "vector"], ["beside", "first"], ["second"]]
    assert order == ["second", "beside", "first", "small", "tokens"] and list(some.current) == list(one.weights)
    tensor = next(tensor for tensor in plan.tensors if tensor.name == "second")
    rows, columns = (2.0 ** (np.array(codes) / 4) for codes in (tensor.row_codes, tensor.column_codes))
    assert one.calibration is not None
    G, change = one.calibration.tensors["second"].outputs.astype(float), np.full((16, 16), 0.5)

    def nats(weight: np.ndarray) -> float:
        square = weight.astype(float) ** 2
        spread = np.outer(square.mean(1), square.mean(0)) / square.mean()
        return float(0.5 * np.log(1 + spread / (STEP_MSE * (tensor.base * np.outer(rows, columns)) ** 2)).sum())

    rate = nats(one.weights["second"] + change) - nats(one.weights["second"])
    expected = -0.5 * np.trace(G @ change @ change.T) - rate * STEP_MSE * 0.05**2
    assert hand.gains["second"] == pytest.approx(expected, rel=1e-3)
