"""Published rounding against literal formulas, a GPTQ that inverts again at every step, and published numbers."""

import numpy as np
import pytest

from bytecap.core.errors import ConfigError, NumericsError
from bytecap.formats.plan import ScaleRule
from bytecap.published import rounding as published
from bytecap.published.rounding import ABSMAX, QUANTILE, SIGMA, RoundedRows, round_published, row_scales
from bytecap.quant.statistics import Curvature


def rule_of(levels: int, clip: str, amount: float = 0.0, **others: float) -> ScaleRule:
    settings = {"lowest": -levels, "floor": 1.0, "feedback": False} | others
    return ScaleRule(levels=levels, clip=clip, amount=amount, **settings)  # type: ignore[arg-type]


def gaussian(rows: int, columns: int, sigma: float = 1.0, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((rows, columns)) * sigma).astype(np.float32)


def curvature_of(columns: int, seed: int = 0, dead: tuple[int, ...] = ()) -> Curvature:
    """Correlated inputs of very different size, some never active."""
    random = np.random.default_rng(seed)
    inputs = random.standard_normal((3 * columns, columns)) @ random.standard_normal((columns, columns)) / columns**0.5
    inputs *= np.exp(random.standard_normal(columns))
    inputs[:, list(dead)] = 0
    second = (inputs.T @ inputs / len(inputs)).astype(np.float32)
    return Curvature(inputs_II=second, outputs=np.ones(1, np.float32), gradient_square=1.0)


def quantile_by_hand(row: np.ndarray, share: float) -> float:
    """Between the two sorted absolute values around the share."""
    order = sorted(abs(float(value)) for value in row)
    place = share * (len(order) - 1)
    below = int(place)
    above = min(below + 1, len(order) - 1)
    return order[below] + (place - below) * (order[above] - order[below])


def by_hand(weight: np.ndarray, rule: ScaleRule) -> tuple[list[list[int]], list[float]]:
    """Element by element, in Python's own numbers."""
    symbols, scales = [], []
    for row in weight:
        values = [float(value) for value in row]
        if rule.clip == QUANTILE:
            clip = quantile_by_hand(row, rule.amount)
            values = [max(-clip, min(clip, value)) for value in values]
        elif rule.clip == ABSMAX:
            clip = max(abs(value) for value in values)
        else:
            mean = sum(values) / len(values)
            clip = rule.amount * (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
        scale = float(np.float16(max(clip, rule.floor) / rule.levels))
        scales.append(scale)
        symbols.append([max(rule.lowest, min(rule.levels, round(value / scale))) if scale else 0 for value in values])
    return symbols, scales


def gptq_by_hand(weight: np.ndarray, rule: ScaleRule, inputs: np.ndarray, damping: float) -> np.ndarray:
    """Always the most active column that is left; its error goes to the others by the inverse of what is left.

    The Hessian is a sum over a million tokens, where the 1 of an input that was never active is next to nothing.
    """
    values, left = weight.astype(np.float64), list(range(weight.shape[1]))
    scales = row_scales(weight, rule).astype(np.float64)
    hessian = inputs.astype(np.float64) * 1e6
    for i in left:
        if hessian[i, i] == 0:
            hessian[i, i] = 1
            values[:, i] = 0
    hessian = hessian + damping * np.trace(hessian) / len(left) * np.eye(len(left))
    symbols = np.zeros(weight.shape, np.int16)
    while left:
        j = max(left, key=lambda i: hessian[i, i])
        inverse = np.linalg.inv(hessian[np.ix_(left, left)])
        at = left.index(j)
        symbols[:, j] = np.clip(np.rint(values[:, j] / scales), rule.lowest, rule.levels)
        error = values[:, j] - symbols[:, j] * scales
        values[:, left] -= np.outer(error, inverse[at] / inverse[at, at])
        left.remove(j)
    return symbols


def loss(rounded: RoundedRows, weight: np.ndarray, curvature: Curvature) -> float:
    error = (rounded.weights() - weight).astype(np.float64)
    return float(np.einsum("oi,ij,oj->", error, curvature.inputs_II, error))


RULES = [
    rule_of(127, QUANTILE, 0.9999984),
    rule_of(31, QUANTILE, 0.9),
    rule_of(15, ABSMAX, lowest=-16),
    rule_of(31, ABSMAX, floor=0.0),
    rule_of(31, SIGMA, 13.0, floor=1e-10),
    rule_of(31, SIGMA, 1.5, floor=1e-10),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.clip}-{rule.levels}-{rule.amount}")
@pytest.mark.parametrize("sigma", [3.0, 0.3, 0.02])
def test_nearest_by_hand(rule: ScaleRule, sigma: float) -> None:
    """Each integer and scale as by the formula, rows above and below the floor, a row of zeros."""
    weight = gaussian(9, 40, sigma)
    weight[3] = 0
    rounded = round_published(weight, rule, None)
    symbols, scales = by_hand(weight, rule)
    assert rounded.symbols_OI.tolist() == symbols and rounded.scales_O.tolist() == scales
    assert (rounded.symbols_OI.dtype, rounded.scales_O.dtype) == (np.int16, np.float16)
    expected = np.array(symbols, np.float32) * np.array(scales, np.float32)[:, None]
    assert np.array_equal(rounded.weights(), expected)


def test_row_scales_have_a_floor() -> None:
    """A row whose largest weight is 0.3 is rounded on the grid of a row that reaches 1."""
    row = np.array([[0.3, -0.3, 0.01, 0.1]], np.float32)
    rounded = round_published(row, rule_of(31, ABSMAX, lowest=-32), None)
    assert rounded.scales_O[0] == np.float16(1 / 31)
    assert rounded.symbols_OI.tolist() == [[9, -9, 0, 3]]
    for levels in (15, 31, 63, 127):
        assert row_scales(row, rule_of(levels, QUANTILE, 0.9999984))[0] == np.float16(1 / levels)


def test_lowest_integer_is_practically_unused() -> None:
    """Scale is the largest weight over 15, so -16 does not come up; a scale in deviations clips on both sides."""
    rounded = round_published(gaussian(50, 64, 2.0), rule_of(15, ABSMAX, lowest=-16), None)
    assert (rounded.symbols_OI.min(), rounded.symbols_OI.max()) == (-15, 15)
    rounded = round_published(gaussian(50, 64), rule_of(31, SIGMA, 1.0, lowest=-32), None)
    assert (rounded.symbols_OI.min(), rounded.symbols_OI.max()) == (-32, 31)


@pytest.mark.parametrize(
    ("rule", "sigma", "bits", "error"),
    [
        (rule_of(31, ABSMAX, floor=0.0), 1.0, 5.32, 0.0009),
        (rule_of(31, ABSMAX), 0.10, 3.69, 0.0087),
        (rule_of(15, ABSMAX), 0.05, 1.73, 0.148),
        (rule_of(127, ABSMAX), 0.20, 6.71, 0.0001),
        (rule_of(31, SIGMA, 12.0), 1.0, 3.43, 0.0125),
        (rule_of(31, SIGMA, 13.0), 1.0, 3.31, 0.0147),
        (rule_of(63, SIGMA, 15.0), 1.0, 4.12, 0.0047),
        (rule_of(127, SIGMA, 20.0), 1.0, 4.72, 0.0021),
    ],
)
def test_known_rates(rule: ScaleRule, sigma: float, bits: float, error: float) -> None:
    """Entropy and relative error of Gaussian rows of 512, as they were tabled for the published runs."""
    weight = gaussian(400, 512, sigma)
    rounded = round_published(weight, rule, None)
    share = np.unique(rounded.symbols_OI, return_counts=True)[1] / weight.size
    assert -(share * np.log2(share)).sum() == pytest.approx(bits, abs=0.015)
    assert np.square(rounded.weights() - weight).mean() / sigma**2 == pytest.approx(error, rel=0.03, abs=5e-5)


@pytest.mark.parametrize("columns", [1, 2, 7, 150])
@pytest.mark.parametrize("rule", [RULES[2], RULES[4], RULES[5]], ids=lambda rule: f"{rule.clip}-{rule.amount}")
def test_feedback_by_hand(columns: int, rule: ScaleRule) -> None:
    """The same integers as the obvious GPTQ, with dead inputs, clipping and more than one block of columns."""
    if rule.clip == SIGMA and columns == 1:
        return
    rule = rule_of(rule.levels, rule.clip, rule.amount, lowest=rule.lowest, floor=rule.floor, feedback=True)
    weight = gaussian(11, columns, 1.0, seed=columns)
    dead = (2, columns - 1) if columns > 2 else ()
    curvature = curvature_of(columns, columns, dead)
    rounded = round_published(weight, rule, curvature, 0.02)
    assert np.array_equal(rounded.symbols_OI, gptq_by_hand(weight, rule, curvature.inputs_II, 0.02))
    assert not rounded.symbols_OI[:, list(dead)].any()
    assert np.array_equal(rounded.scales_O, row_scales(weight, rule))


def test_dead_inputs_do_not_damp() -> None:
    """Faint inputs are rounded the same with and without many dead ones beside them."""
    weight, curvature = gaussian(12, 60), curvature_of(40)
    faint = np.zeros((60, 60), np.float32)
    faint[:40, :40] = curvature.inputs_II * 1e-4
    rule = rule_of(31, ABSMAX, floor=4.0, feedback=True)
    many = round_published(weight, rule, Curvature(inputs_II=faint, outputs=faint, gradient_square=1.0), 0.03)
    alone = round_published(weight[:, :40].copy(), rule, curvature, 0.02)
    assert np.array_equal(many.symbols_OI[:, :40], alone.symbols_OI) and not many.symbols_OI[:, 40:].any()
    nothing = Curvature(inputs_II=0 * faint, outputs=faint, gradient_square=1.0)
    assert not round_published(weight, rule, nothing).symbols_OI.any()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of columns at once gives the same integers."""
    weight, curvature = gaussian(20, 90), curvature_of(90)
    rule = rule_of(31, SIGMA, 12.0, feedback=True)
    whole = round_published(weight, rule, curvature)
    for block in (1, 7, 64):
        monkeypatch.setattr(published, "BLOCK", block)
        assert np.array_equal(round_published(weight, rule, curvature).symbols_OI, whole.symbols_OI)


def test_feedback_pays() -> None:
    """Less loss than rounding to nearest with the same scales; for independent equal inputs the same integers."""
    weight, curvature = gaussian(64, 96), curvature_of(96)
    near, feed = (rule_of(31, SIGMA, 12.0, feedback=feedback) for feedback in (False, True))
    nearest, gptq = round_published(weight, near, None), round_published(weight, feed, curvature)
    assert np.array_equal(nearest.scales_O, gptq.scales_O)
    assert loss(gptq, weight, curvature) < 0.6 * loss(nearest, weight, curvature)
    alike = Curvature(inputs_II=np.eye(96, dtype=np.float32), outputs=np.ones(1, np.float32), gradient_square=1.0)
    assert np.array_equal(round_published(weight, feed, alike).symbols_OI, nearest.symbols_OI)


def test_rows_beyond_16_bits() -> None:
    """A scale too small for 16 bits makes zeros, one too large is refused."""
    weight = np.array([[1e-8, -2e-8, 0.0], [1.0, 2.0, -1.0]], np.float32)
    for feedback in (False, True):
        rounded = round_published(weight, rule_of(31, SIGMA, 12.0, floor=1e-10, feedback=feedback), curvature_of(3))
        assert not rounded.symbols_OI[0].any() and rounded.symbols_OI[1].any() and rounded.scales_O[0] == 0
    for bad in (1e7, np.nan):
        with pytest.raises(NumericsError, match="x has a row whose scale"):
            round_published(np.array([[bad, 1.0]], np.float32), rule_of(31, ABSMAX), None, name="x")


def test_impossible_rules_are_refused() -> None:
    """Feedback without a calibration, deviations of one number, an unknown rule, a curvature that is none."""
    with pytest.raises(ConfigError, match=r"rounds x with feedback.*give --text"):
        round_published(gaussian(2, 3), rule_of(31, SIGMA, 12.0, feedback=True), None, name="x")
    with pytest.raises(ConfigError, match=r"x has one column.*keep it at 16 bits"):
        round_published(gaussian(2, 1), rule_of(31, SIGMA, 12.0), None, name="x")
    with pytest.raises(ConfigError, match="clips by 'median'"):
        round_published(gaussian(2, 3), rule_of(31, "median"), None)
    indefinite = np.array([[1.0, 5.0], [5.0, 1.0]], np.float32)
    saddle = Curvature(inputs_II=indefinite, outputs=np.ones(1, np.float32), gradient_square=1.0)
    with pytest.raises(NumericsError, match="curvature of x is not positive definite"):
        round_published(gaussian(2, 2), rule_of(31, ABSMAX, feedback=True), saddle, name="x")
