"""Each published plan as its source tells it, tensor by tensor."""

import dataclasses

import numpy as np
import pytest

from bytecap.core.errors import ConfigError
from bytecap.formats.floats import FLOAT16, FLOAT32
from bytecap.formats.per_channel import PER_CHANNEL
from bytecap.formats.plan import BitPlan, ScaleRule, TensorPlan
from bytecap.published.rounding import round_published, row_scales
from bytecap.published.scheme_plan import KEEP_SMALL, SchemeOptions, scheme_plan
from bytecap.published.schemes import SCHEMES
from bytecap.published.schemes.pr332 import rank_bits
from bytecap.quant.allocation import Shape
from bytecap.quant.statistics import Calibration, Curvature

MATRICES = {
    "attention.query": (512, 512),
    "attention.key": (256, 512),
    "attention.value": (256, 512),
    "attention.out": (512, 512),
    "mlp.up": (1408, 512),
    "mlp.down": (512, 1408),
}


def shapes_of(blocks: int, extra: tuple[Shape, ...] = ()) -> list[Shape]:
    """A model of ours, with its control vectors."""
    shapes = [Shape("embedding", "embedding", (1024, 512))]
    for number in range(blocks):
        shapes += [Shape(f"blocks.{number}.{name}.weight", "matrix", shape) for name, shape in MATRICES.items()]
        shapes.append(Shape(f"blocks.{number}.mlp_scale", "scalar", (512,)))
    return [*shapes, Shape("techniques.residual_mix.mix_L2D", "scalar", (blocks, 2, 512)), *extra]


def load_or_measure_calibration(shapes: list[Shape], squares: dict[str, float] | None = None) -> Calibration:
    """A calibration that saw every matrix and the embedding; only squared gradients matter here."""
    tensors = {}
    for entry in shapes:
        if entry.role != "scalar":
            square = (squares or {}).get(entry.name, 1.0)
            tiny = np.eye(1, dtype=np.float32)
            tensors[entry.name] = Curvature(inputs_II=tiny, outputs=tiny, gradient_square=square)
    return Calibration(source_digest="x", tokens=1, loss=1.0, unigram=2.0, tensors=tensors)


def plan_of(name: str, blocks: int = 6, step_scale: float = 1.0, **others: float) -> dict[str, TensorPlan]:
    shapes = shapes_of(blocks)
    options = SchemeOptions(name, **others)  # type: ignore[arg-type]
    plan = scheme_plan(options, shapes, load_or_measure_calibration(shapes), "x", step_scale)
    assert (plan.scheme, plan.source_digest) == (name, "x")
    assert [(t.name, t.role, t.shape) for t in plan.tensors] == [(s.name, s.role, s.shape) for s in shapes]
    return {tensor.name: tensor for tensor in plan.tensors}


def by_range(levels: int, lowest: int, clip: str = "quantile") -> ScaleRule:
    amount = 0.9999984 if clip == "quantile" else 0.0
    return ScaleRule(levels=levels, lowest=lowest, clip=clip, amount=amount, floor=1.0, feedback=False)


def make_steps(tensor: TensorPlan) -> tuple[int, float, bool]:
    """R, step in row deviations, feedback; of a plan by deviations whose range is the same on both sides."""
    rule = tensor.rule
    assert rule is not None and rule.clip == "sigma" and rule.lowest == -rule.levels
    assert rule.floor == pytest.approx(1e-10 * rule.levels)
    return rule.levels, rule.amount / rule.levels, rule.feedback


def test_int8_and_pr65() -> None:
    """±127 everywhere; ±31 for matrices."""
    assert {t.rule for t in plan_of("int8").values() if t.rule} == {by_range(127, -127)}
    tensors = plan_of("pr65")
    assert tensors["embedding"].rule == by_range(127, -127)
    assert {t.rule for t in tensors.values() if t.role == "matrix"} == {by_range(31, -31)}


def test_grids_of_pr219() -> None:
    """MLP -16 .. 15, attention -32 .. 31, both by the largest weight; the embedding as the baseline has it."""
    tensors = plan_of("pr219")
    assert tensors["embedding"].rule == by_range(127, -127)
    for name, tensor in tensors.items():
        if tensor.role == "matrix":
            assert tensor.rule == (by_range(15, -16, "absmax") if ".mlp." in name else by_range(31, -32, "absmax"))


@pytest.mark.parametrize(("blocks", "fine"), [(10, {0, 1, 8, 9}), (5, {0, 1, 3, 4}), (3, {0, 1, 2}), (1, {0})])
def test_bits_of_pr309_by_block(blocks: int, fine: set[int]) -> None:
    """8 bits in the first and last two blocks, also where these are all."""
    tensors = plan_of("pr309", blocks)
    assert tensors["embedding"].format == FLOAT16
    for name, tensor in tensors.items():
        if tensor.role == "matrix":
            assert tensor.rule == (by_range(127, -127) if int(name.split(".")[1]) in fine else by_range(31, -31))


def test_bits_of_pr332_by_rank() -> None:
    """75 ranks: thresholds at entries 15 and 67, so 8 tensors get 7 bits, 16 get 5, 51 get 6; the embedding 8."""
    extra = (Shape("bigram.0.table", "matrix", (2048, 128)), Shape("bigram.1.weight", "matrix", (512, 128)))
    shapes = shapes_of(12, extra)
    ranked = [entry.name for entry in shapes if entry.role != "scalar"]
    squares = dict(zip(ranked, np.random.default_rng(0).permutation(75).tolist(), strict=True))
    calibration = load_or_measure_calibration(shapes, squares)
    bits = rank_bits(shapes, calibration)
    for name, rank in squares.items():
        assert bits[name] == (7 if rank >= 67 else 5 if rank <= 15 else 6)
    assert [list(bits.values()).count(b) for b in (7, 6, 5)] == [8, 51, 16]
    tensors = {t.name: t for t in scheme_plan(SchemeOptions("pr332"), shapes, calibration, "x").tensors}
    assert tensors["embedding"].rule == by_range(127, -127)
    assert tensors["bigram.1.weight"].format == FLOAT16  # exactly 65,536
    levels = {7: 63, 6: 31, 5: 15}
    for name in ranked[1:-1]:
        assert tensors[name].rule == by_range(levels[bits[name]], -levels[bits[name]])


def test_pr332_ranks_by_what_training_has_gathered() -> None:
    """Where it has, whatever the calibration says."""
    shapes = shapes_of(12)
    ranked = [entry.name for entry in shapes if entry.role != "scalar"]
    gathered = {name: float(rank) for rank, name in enumerate(ranked)}
    calibration = load_or_measure_calibration(shapes, {name: -rank for name, rank in gathered.items()})
    bits = rank_bits(shapes, dataclasses.replace(calibration, training_squares=gathered))
    assert bits == rank_bits(shapes, load_or_measure_calibration(shapes, gathered)) != rank_bits(shapes, calibration)
    assert (bits[ranked[0]], bits[ranked[-1]]) == (5, 7)


def test_pr332_unranked() -> None:
    """Fewer than 64 rows, or not measured: no rank and 6 bits. Nothing ranked at all is refused."""
    shapes = [Shape(f"blocks.{i}.mlp.up.weight", "matrix", (rows, 4096)) for i, rows in enumerate((64, 64, 63, 99))]
    squares = {shapes[0].name: 1.0, shapes[1].name: 9.0, shapes[2].name: 0.1}
    calibration = load_or_measure_calibration(shapes[:3], squares)
    assert rank_bits(shapes, calibration) == {shapes[0].name: 5, shapes[1].name: 7}
    rules = [tensor.rule for tensor in scheme_plan(SchemeOptions("pr332"), shapes, calibration, "x").tensors]
    assert [rule.levels for rule in rules if rule] == [15, 63, 31, 31]
    with pytest.raises(ConfigError, match="at least 64 rows and found none"):
        scheme_plan(SchemeOptions("pr332"), shapes[2:], calibration, "x")


def test_steps_by_deviations() -> None:
    """k and R of three runs; #1797 plans as #1586 does."""
    tensors = plan_of("pr1586")
    assert make_steps(tensors["blocks.2.mlp.down.weight"]) == (31, 12 / 31, True)
    assert make_steps(tensors["blocks.2.attention.key.weight"]) == (31, 13 / 31, True)
    assert make_steps(tensors["embedding"]) == (63, 15 / 63, True)
    assert plan_of("pr1797") == tensors
    tensors = plan_of("pr1394")
    assert make_steps(tensors["blocks.2.mlp.down.weight"]) == (31, 12.85 / 31, True)
    assert make_steps(tensors["embedding"]) == (127, 20 / 127, True)


@pytest.mark.parametrize("name", ["pr1394", "pr1586", "pr1797", "best_published"])
def test_step_scale(name: str) -> None:
    """The step_scale multiplies every step in deviations and stands in the plan."""
    one, three = plan_of(name), plan_of(name, step_scale=3.0)
    for key, tensor in one.items():
        if tensor.rule:
            assert make_steps(three[key])[1] == pytest.approx(3 * make_steps(tensor)[1])
    shapes = shapes_of(1)
    assert scheme_plan(SchemeOptions(name), shapes, load_or_measure_calibration(shapes), "x", 3.0).step_scale == 3.0


def test_step_scale_of_a_range() -> None:
    """At 1 the published rule itself; at 2.5 steps as many times wider, and integers as many times fewer, rounded."""
    for name, published, scaled in (("int8", (-127, 127), (-51, 51)), ("pr219", (-16, 15), (-6, 6))):
        found = [plan_of(name, step_scale=scale)["blocks.0.mlp.up.weight"].rule for scale in (1.0, 2.5, 200.0)]
        assert [rule.integers for rule in found if rule] == [published, scaled, (-1, 1)]
    weight = np.random.default_rng(0).standard_normal((5, 400)).astype(np.float32)
    one, two = (plan_of("pr65", step_scale=scale)["blocks.0.mlp.up.weight"].rule for scale in (1.0, 2.5))
    assert one is not None and two is not None
    expected = (np.quantile(np.abs(weight.astype(np.float64)), 0.9999984, axis=1) / 31 * 2.5).astype(np.float16)
    assert np.array_equal(row_scales(weight, two), expected)
    assert np.array_equal(
        round_published(weight, two, None).symbols_OI, np.rint(weight / expected.astype(float)[:, None])
    )


def test_a_half_that_shrinks() -> None:
    """The embedding of #309 is a half as published, and else integers of 12 bits and the scale, without a floor."""
    assert plan_of("pr309")["embedding"].rule is None
    rule = plan_of("pr309", step_scale=2.0)["embedding"].rule
    assert rule is not None and (rule.integers, rule.floor, rule.feedback) == ((-1024, 1024), 0.0, False)
    values = np.linspace(-0.01, 0.01, 101, dtype=np.float32)[None]
    assert np.allclose(row_scales(values, rule), 0.01 / 2047 * 2, rtol=1e-3)


def test_best_published() -> None:
    """One step for all, the embedding's in proportion, and integers as large as they come."""
    tensors = plan_of("best_published", step_scale=0.4, embedding_step=0.25)
    assert make_steps(tensors["embedding"]) == (32_767, pytest.approx(0.1), True)
    assert make_steps(tensors["blocks.0.mlp.up.weight"]) == (32_767, pytest.approx(0.4), True)
    rule = tensors["blocks.0.mlp.up.weight"].rule
    assert rule is not None
    weight = np.random.default_rng(0).standard_normal((3, 400)).astype(np.float32)
    weight[0, 0] = 100.0
    curvature = Curvature(inputs_II=np.eye(400, dtype=np.float32), outputs=weight[:, 0], gradient_square=0.0)
    rounded = round_published(weight, rule, curvature)
    assert rounded.scales_O[1] == np.float16(0.4 * weight[1].std(ddof=1))
    assert rounded.symbols_OI[0, 0] == np.rint(100.0 / rounded.scales_O[0].astype(np.float64)) > 45


def test_small_and_odd_tensors() -> None:
    """65,536 elements stay at 16 bits, one row more does not; the limit can be taken away; only matrices have rows."""
    shapes = [
        Shape("blocks.0.mlp.up.weight", "matrix", (128, 512)),
        Shape("blocks.0.mlp.down.weight", "matrix", (129, 512)),
        Shape("blocks.0.mlp.deep", "matrix", (400, 400, 2)),
        Shape("blocks.0.mlp.gain", "scalar", (400, 400)),
    ]
    assert KEEP_SMALL == 65_536

    def grids(plan: BitPlan) -> list[str]:
        return [tensor.format for tensor in plan.tensors]

    assert grids(scheme_plan(SchemeOptions("int8"), shapes, None, "x")) == [FLOAT16, PER_CHANNEL, FLOAT16, FLOAT32]
    assert grids(scheme_plan(SchemeOptions("pr219"), shapes, None, "x")) == [FLOAT16, PER_CHANNEL, FLOAT16, FLOAT16]
    assert grids(scheme_plan(SchemeOptions("int8", keep_small=0), shapes, None, "x")) == [
        PER_CHANNEL,
        PER_CHANNEL,
        FLOAT16,
        FLOAT32,
    ]


def test_unmeasured_weights_are_rounded_to_nearest() -> None:
    """A weight that the calibration never saw has no curvature to feed back by, and the plan says so."""
    shapes = shapes_of(1)
    calibration = load_or_measure_calibration(shapes[:-3])
    rules = {t.name: t.rule for t in scheme_plan(SchemeOptions("pr1586"), shapes, calibration, "x").tensors if t.rule}
    assert [name for name, rule in rules.items() if not rule.feedback] == ["blocks.0.mlp.down.weight"]


def test_impossible_schemes_are_refused() -> None:
    """Unknown schemes and names, a missing calibration, and impossible step scales."""
    shapes = shapes_of(2)
    calibration = load_or_measure_calibration(shapes)
    with pytest.raises(
        ConfigError, match=r"no scheme 'pr1568' .did you mean pr1586.*choose one of best_published, int8, pr65"
    ):
        scheme_plan(SchemeOptions("pr1568"), shapes, None, "x")
    for name in (name for name, scheme in SCHEMES.items() if scheme.calibrated):
        with pytest.raises(ConfigError, match=f"{name} needs curvature measured on text"):
            scheme_plan(SchemeOptions(name), shapes, None, "x")
    with pytest.raises(ConfigError, match="pr1586 has a fixed embedding"):
        scheme_plan(SchemeOptions("pr1586", embedding_step=0.5), shapes, calibration, "x")
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"step_scale of scheme best_published is .*; it must be positive"):
            scheme_plan(SchemeOptions("best_published"), shapes, calibration, "x", bad)
        with pytest.raises(ConfigError, match="embedding step of scheme best_published"):
            scheme_plan(SchemeOptions("best_published", embedding_step=bad), shapes, calibration, "x")
    foreign = [Shape("layer3.dense", "matrix", (512, 512))]
    for name in ("pr219", "pr1586", "pr1797"):
        with pytest.raises(ConfigError, match=r"cannot tell what layer3\.dense is.*mlp, feed_forward; rename"):
            scheme_plan(SchemeOptions(name), foreign, load_or_measure_calibration(foreign), "x")
    with pytest.raises(ConfigError, match=r"cannot tell the block of layer3\.dense"):
        scheme_plan(SchemeOptions("pr309"), foreign, None, "x")
    for name in ("int8", "pr65", "pr1394", "best_published"):
        scheme_plan(SchemeOptions(name), foreign, load_or_measure_calibration(foreign), "x")
