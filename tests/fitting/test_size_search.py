"""Never one byte over, and close under, for random models and caps."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.core.budget import MIN_SLACK_BYTES
from bytecap.core.errors import BudgetError
from bytecap.core.progress import Silent
from bytecap.fitting.problem import FitProblem, build_problem
from bytecap.fitting.refine import Candidates, refine
from bytecap.fitting.result import FitResult
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.source import WeightSource
from bytecap.formats.tensor import QuantizedModel
from bytecap.quant.allocation import QuantConfig, Shape
from bytecap.quant.factors import Factors, inverse_factor
from tests.artifact.example import ABOUT


def fitter(seed: int, states: int = 8, sides: Sequence[tuple[int, int]] = ((40, 64), (96, 40))) -> SizeSearch:
    """Two matrices, of these rows and columns, with curvature on both sides and a vector."""
    rng = np.random.default_rng(seed)
    weights, factors, shapes = {}, {}, []
    for name, (rows, columns) in zip("ab", sides, strict=True):
        weights[name] = (rng.normal(size=(rows, columns)) * rng.uniform(0.2, 1, (rows, 1))).astype(np.float32)
        x, g = rng.normal(size=(300, columns)) * rng.uniform(0.3, 3, columns), rng.normal(size=(300, rows))
        factors[name] = Factors(inverse_factor(name, x.T @ x / 300, 0.01), inverse_factor(name, g.T @ g / 300, 0.01))
        shapes.append(Shape(name, "matrix", (rows, columns)))
    weights["s"] = rng.normal(size=7).astype(np.float32)
    shapes.append(Shape("s", "scalar", (7,)))
    source = WeightSource(weights, shapes, "x", None)
    return SizeSearch(
        FitProblem(source, None, QuantConfig(states=states), weights, factors, frozenset(factors), {}), packed
    )


def total(result: FitResult) -> float:
    """The predicted loss of the real rounding."""
    return sum(result.losses.values())


def packed(model: QuantizedModel) -> bytes:
    return pack(None, model, b"", ABOUT, ArtifactConfig(cap_bytes=10**6))


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 3), st.integers(300, 7_000), st.sampled_from([1, 8]))
def test_never_over_and_close_under(seed: int, cap: int, states: int) -> None:
    """Over the useful range the unused bytes are at most the slack; a cap that cannot be met is refused."""
    one = fitter(seed, states)
    smallest = one.smallest().size_bytes
    if cap < smallest:
        with pytest.raises(BudgetError, match=f"at least {smallest:,} bytes"):
            one.fit(cap, Silent())
        return
    result = one.fit(cap, Silent())
    assert len(result.data) <= cap
    assert cap - len(result.data) <= MIN_SLACK_BYTES or cap < 1.5 * smallest


def test_predicted_size_and_loss_are_close() -> None:
    """Without rounding, size within 3 % here (1 % on real models) and loss within a fifth of what rounding gives."""
    one = fitter(0)
    result = one.fit(4000, Silent())
    assert result.predicted_bytes == pytest.approx(len(result.data), rel=0.03)
    assert one.estimate(one.problem, result.plan.step_scale).loss == pytest.approx(total(result), rel=0.2)
    assert result.loss is None  # nothing was measured


def test_finer_steps_lose_less() -> None:
    """Twice the bytes, far less loss."""
    one = fitter(1)
    assert total(one.fit(6000, Silent())) < 0.3 * total(one.fit(3500, Silent()))


class _OtherHand:
    """Changes weights between the roundings, and says whether that was of use."""

    def __init__(self, better: bool) -> None:
        self.better, self.calls, self.asked = better, list[Any](), list[Any]()

    def __call__(self, name: str, value: np.ndarray, errors: Mapping[str, float]) -> dict[str, np.ndarray]:
        self.calls.append((name, sorted(errors)))
        return {"a": np.full((40, 64), 0.5, np.float32)} if name == "b" else {"s": np.arange(7, dtype=np.float32)}

    def divergence(self, weights: Mapping[str, np.ndarray]) -> float:
        self.asked.append(weights)
        return (
            float(len(self.asked)) if self.better else -float(len(self.asked))
        )  # the adapted model is asked for first


def _begin(other: _OtherHand, names: list[str]) -> _OtherHand:
    return other


def test_in_turn() -> None:
    """Weights that another hand changes between the roundings are rounded as they have become, and the file fits."""
    one, cap, other = fitter(2), 5_000, _OtherHand(better=True)
    result = dataclasses.replace(one, start_adaptation=lambda names: other).fit(cap, Silent())
    assert other.calls == [("b", ["a"]), ("a", [])]
    assert 0 <= cap - len(result.data) <= 4 * MIN_SLACK_BYTES
    weights = {name: value.numpy() for name, value in result.model.state_dict().items()}
    assert np.abs(weights["a"] - 0.5).mean() < 0.05
    assert np.array_equal(weights["s"], np.arange(7))


def test_a_distillation_that_comes_out_worse_is_not_taken() -> None:
    """By what the distiller says of both models; then the file is that of a fit without it, to the byte."""
    one, cap, plain = fitter(2), 5_000, fitter(2).fit(5_000, Silent())
    for better in (False, True):
        other = _OtherHand(better=better)
        result = dataclasses.replace(one, start_adaptation=functools.partial(_begin, other)).fit(cap, Silent())
        assert (result.data == plain.data) == (not better)
        assert len(other.asked) == 2 and np.array_equal(other.asked[1]["a"], plain.model.tensors["a"].weights())
        assert not np.array_equal(other.asked[0]["a"], other.asked[1]["a"])


@pytest.mark.parametrize("cap", [9_000, 11_000, 12_800, 13_500, 17_000, 20_000, 40_000])
def test_more_room_than_the_weights_need(cap: int) -> None:
    """Steps end at their floor, the file below the cap; integers never saturate."""
    one = fitter(0)
    result = one.fit(cap, Silent())
    assert len(result.data) <= cap
    for name, value in result.model.state_dict().items():
        weight = one.problem.weights[name]
        assert np.square(value.numpy() - weight).mean() < 1e-5 * np.square(weight).mean()


def test_the_same_size_gives_the_same_file_whatever_was_fitted_before() -> None:
    """A search keeps nothing from one size for the next."""
    alone = fitter(3).fit(4_200, Silent()).data
    one = fitter(3)
    one.predict(5_000, Silent())
    others = [one.fit(cap, Silent()).data for cap in (3_300, 6_000)]
    assert one.fit(4_200, Silent()).data == alone
    assert [fitter(3).fit(cap, Silent()).data for cap in (3_300, 6_000)] == others


def test_no_tensor_is_lost_while_bytes_are_left() -> None:
    """A matrix whose curvature is all but zero by mistake is stored once its zeros leave bytes free."""
    one = fitter(0)
    factors = dict(one.problem.factors)
    factors["a"] = Factors(1e18 * factors["a"].inputs, factors["a"].outputs)
    blind = SizeSearch(dataclasses.replace(one.problem, factors=factors), packed)
    result = blind.fit(40_000, Silent())
    weight = one.problem.weights["a"]
    assert np.square(result.model.tensors["a"].weights() - weight).mean() < 1e-3 * np.square(weight).mean()


def test_what_is_never_rounded_is_named_where_it_fills_the_file() -> None:
    """Whole numbers stay as they are; a cap below that says so."""
    generator = np.random.default_rng(0)
    weights = {"conv": generator.normal(size=(8, 8, 3)).astype(np.float32), "map": np.ones((4, 4), np.float32)}
    shapes = [Shape(name, "matrix", weight.shape, exact=name == "conv") for name, weight in weights.items()]
    problem = build_problem(WeightSource(weights, shapes, "x", None), None, QuantConfig())
    with pytest.raises(BudgetError, match=r"most of it is kept at 16 bits or more \(conv\)"):
        SizeSearch(problem, packed).predict(300, Silent())


@pytest.mark.parametrize("cap", [20_600, 29_700])
def test_a_tensor_at_its_finest_step_does_not_end_the_search(cap: int) -> None:
    """The smallest tensor, which is rounded again first, has no finer integers; the others take what is left."""
    one = fitter(3, sides=((96, 96), (96, 120)))
    a = one.problem.factors["a"]
    factors = {**one.problem.factors, "a": Factors(1e-9 * a.inputs, a.outputs)}
    one = SizeSearch(dataclasses.replace(one.problem, factors=factors), packed)
    result = one.fit(cap, Silent())
    assert 0 <= cap - len(result.data) <= MIN_SLACK_BYTES


def test_attempts_aim_ever_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as every file is over the size, each attempt takes twice as much off it as the one before."""
    tried = []

    def over(problem: FitProblem, candidates: Candidates, *others: Any) -> int:
        tried.append(candidates.file_bytes)
        return refine(problem, candidates, *others) if candidates.file_bytes < 5_000 else 0

    monkeypatch.setattr("bytecap.fitting.size_search.refine", over)
    result = fitter(3).fit(7_000, Silent())
    assert tried == [7_000, 6_936, 6_808, 6_552, 6_040, 5_016, 2_968] and len(result.data) <= 2_968


def test_a_file_over_the_size_is_not_the_last() -> None:
    """Even where nothing can be stored more finely: what the estimate missed has to go."""
    candidates = Candidates(1_000, lambda _: bytes(1_100), 0.0)
    candidates.finest = True
    gap = candidates.gap()
    assert gap is not None and gap < -100
