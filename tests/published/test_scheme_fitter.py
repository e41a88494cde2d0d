"""Published schemes carried out: each tensor as its plan says, and the step_scale turned against real sizes."""

import math

import numpy as np
import pytest

from bytecap.artifact.pack import ArtifactConfig, pack
from bytecap.core.errors import BudgetError, ConfigError
from bytecap.core.progress import Silent
from bytecap.fitting.source import WeightSource
from bytecap.formats.floats import FLOAT16, FLOAT32, FloatTensor
from bytecap.formats.low_rank_corrected import LOW_RANK_CORRECTED, LowRankCorrected
from bytecap.formats.per_channel import PER_CHANNEL, PerChannelQuantized
from bytecap.formats.per_group import PER_GROUP, PerGroupQuantized
from bytecap.formats.tensor import QuantizedModel
from bytecap.published.rounding import round_published
from bytecap.published.scheme_fitter import SchemeFitter, needs_text
from bytecap.published.scheme_plan import SchemeOptions, scheme_plan
from bytecap.published.schemes import SCHEMES
from bytecap.quant.allocation import Shape
from bytecap.quant.statistics import Calibration, Curvature
from tests.artifact.example import ABOUT
from tests.progress import Notes

SIZES = {
    "embedding": ("embedding", (90, 24)),
    "blocks.0.attention.query.weight": ("matrix", (70, 24)),
    "blocks.0.mlp.up.weight": ("matrix", (96, 24)),
    "blocks.0.mlp.down.weight": ("matrix", (64, 96)),
    "blocks.0.scale": ("scalar", (24,)),
}
SHAPES = [Shape(name, role, shape) for name, (role, shape) in SIZES.items()]


def material() -> tuple[dict[str, np.ndarray], Calibration]:
    """Weights with rows of different size, curvature of correlated inputs, of the embedding the diagonal of G."""
    rng = np.random.default_rng(0)
    weights, tensors = {}, {}
    for entry in SHAPES:
        weights[entry.name] = (0.3 * rng.normal(size=entry.shape)).astype(np.float32)
        if len(entry.shape) == 2:
            rows, columns = entry.shape
            x, g = rng.normal(size=(300, columns)) @ rng.normal(size=(columns, columns)), rng.normal(size=(300, rows))
            outputs = (g**2).mean(0) if entry.role == "embedding" else g.T @ g / 300
            tensors[entry.name] = Curvature(
                inputs_II=(x.T @ x / 300).astype(np.float32), outputs=outputs.astype(np.float32),
                gradient_square=float(rng.uniform()),
            )  # fmt: skip
    return weights, Calibration(source_digest="x", tokens=300, loss=1.0, unigram=2.0, tensors=tensors)


def packed(model: QuantizedModel) -> bytes:
    return pack(None, model, b"", ABOUT, ArtifactConfig(compressor="zlib"))


def fitter(name: str, *, calibrated: bool = True, **others: float | str) -> SchemeFitter:
    weights, calibration = material()
    given = calibration if calibrated else None
    source = WeightSource(weights, SHAPES, "x", None)
    options = SchemeOptions(name, **{"keep_small": 0, **others})  # type: ignore[arg-type]
    return SchemeFitter(source, given, options, packed)


@pytest.mark.parametrize("name", [name for name in SCHEMES if name != "best_published" and "group" not in name])
def test_own_size(name: str) -> None:
    """Every tensor is rounded as its rule says; what the run kept is kept as it kept it."""
    weights, calibration = material()
    made = fitter(name).fit(None, Silent())
    plan = scheme_plan(SchemeOptions(name, keep_small=0), SHAPES, calibration, "x")
    for entry, described in zip(plan.tensors, made.plan.tensors, strict=True):
        stored, weight = made.model.tensors[entry.name], weights[entry.name]
        if entry.rule is None:
            kind = np.float32 if entry.format == FLOAT32 else np.float16
            assert isinstance(stored, FloatTensor) and stored.values.dtype == kind and described == entry
            assert np.array_equal(stored.values, weight.astype(kind))
            continue
        scaled = stored.scaled if isinstance(stored, LowRankCorrected) else stored
        assert isinstance(scaled, PerChannelQuantized)
        expected = round_published(weight, entry.rule, calibration.tensors[entry.name])
        assert np.array_equal(scaled.symbols_OI, expected.symbols_OI)
        assert described.format == (LOW_RANK_CORRECTED if isinstance(stored, LowRankCorrected) else PER_CHANNEL)
    assert made.data == packed(made.model) and made.predicted_bytes == len(made.data) and made.roundings == 1
    assert made.plan.scheme == name and made.plan.tensors[-1].format in (FLOAT16, FLOAT32)


@pytest.mark.parametrize("name", ["int2_group32", "int4_group64", "int8_group128"])
def test_group_wise(name: str) -> None:
    """Matrices are group-wise, errors at most half a step, the file is what was packed; no calibration is needed."""
    weights, _ = material()
    made = fitter(name, calibrated=False).fit(None, Silent())
    assert made.data == packed(made.model) and made.plan.scheme == name
    for entry in made.plan.tensors:
        stored, weight = made.model.tensors[entry.name], weights[entry.name]
        if entry.format == PER_GROUP:
            assert (
                isinstance(stored, PerGroupQuantized) and np.abs(stored.symbols_OI).max() == 2 ** (entry.bits - 1) - 1
            )
            steps_OI = np.repeat(stored.scales_OG.astype(np.float32), stored.group_size, axis=1)[:, : weight.shape[1]]
            assert (np.abs(stored.weights() - weight) <= 0.502 * steps_OI).all()


def test_ranks_by_what_the_source_has_gathered() -> None:
    """The squared gradients of a training run come with its weights, and go before those of the calibration."""
    weights, calibration = material()
    ranked = [name for name in weights if name in calibration.tensors]
    source = WeightSource(weights, SHAPES, "x", None, training_squares={n: float(i) for i, n in enumerate(ranked)})
    made = SchemeFitter(source, calibration, SchemeOptions("pr332", keep_small=0), packed).fit(None, Silent())
    levels = {tensor.name: tensor.rule.levels for tensor in made.plan.tensors if tensor.rule is not None}
    assert [levels[name] for name in ranked] == [127, 31, 31, 63]


def test_the_repair() -> None:
    """Three tensors, those that lost most, and they are nearer to what they were."""
    weights, _ = material()
    plain, repaired = (
        fitter("pr1586").fit(None, Silent()).model.tensors,
        fitter("pr1797").fit(None, Silent()).model.tensors,
    )
    lost = {n: float(np.square(weights[n] - plain[n].weights()).sum()) for n in weights if "scale" not in n}
    found = {name for name, tensor in repaired.items() if isinstance(tensor, LowRankCorrected)}
    assert found == set(sorted(lost, key=lambda name: -lost[name])[:3])
    for name in found:
        assert np.square(weights[name] - repaired[name].weights()).sum() < lost[name]


def test_predicted_loss() -> None:
    """½ tr(G E A Eᵀ) with every number written out; unknown without a calibration."""
    weights, calibration = material()
    made = fitter("pr1797").fit(None, Silent())
    for name, curvature in calibration.tensors.items():
        e = weights[name].astype(np.float64) - made.model.tensors[name].weights()
        outputs = curvature.outputs if curvature.outputs.ndim == 2 else np.diag(curvature.outputs)
        expected = 0.5 * np.trace(outputs @ e @ curvature.inputs_II @ e.T)
        assert made.losses[name] == pytest.approx(expected, rel=1e-3)
    assert made.loss == pytest.approx(sum(made.losses.values()))
    blind = fitter("int8", calibrated=False).fit(None, Silent())
    assert blind.loss is None and blind.losses == {}


@pytest.mark.parametrize("name", [name for name in SCHEMES if "group" not in name or name == "int4_group64"])
@pytest.mark.parametrize("share", [0.6, 0.8, 0.95])
def test_the_dial(name: str, share: float) -> None:
    """Never over, and within the slack under, wherever the scheme can be."""
    one = fitter(name)
    size = len(fitter("pr1394").fit(None, Silent()).data)
    made = one.fit(int(share * size), Silent())
    assert 0 <= int(share * size) - len(made.data) <= 64 and made.data == packed(made.model)
    assert made.plan.step_scale > 0 and made.roundings <= 24


def test_ends_of_the_dial() -> None:
    """At the fine end a clip of four deviations, or steps of a 512th of one; at the coarse end nothing is left."""
    wide = fitter("pr1394").fit(10**6, Silent())
    assert wide.plan.step_scale == pytest.approx(4 / 12.85)
    assert math.log2(fitter("best_published").fit(10**6, Silent()).plan.step_scale) == -9
    one = fitter("pr1586")
    with pytest.raises(BudgetError, match="take at least") as caught:
        one.fit(600, Silent())
    smallest = caught.value.values["smallest_bytes"]
    made = one.fit(smallest + 40, Silent())
    assert len(made.data) <= smallest + 40
    one.predict(smallest, Silent())


@pytest.mark.parametrize("name", [name for name in SCHEMES if name != "best_published" and "group" not in name])
def test_as_published(name: str) -> None:
    """Its own bytes whatever the cap above them; below, its steps grow and that is said, or it is refused."""
    shrinks, refuses = fitter(name, over_cap="shrink"), fitter(name, over_cap="refuse")
    own = fitter(name).fit(None, Silent())
    size = len(own.data)
    assert shrinks.fit(size, Silent()).data == refuses.fit(10 * size, Silent()).data == own.data
    assert own.plan.step_scale == 1.0 and own.own_bytes == size
    heard = Notes()
    small = shrinks.fit(size - 300, heard)
    assert size - 364 <= len(small.data) <= size - 300 and small.own_bytes == size and small.plan.step_scale > 1
    assert f"as published takes {size:,} bytes, 300 over the cap" in heard.notes[0]
    with pytest.raises(BudgetError, match=f"takes {size:,} bytes, 1 over the cap .* artifact.over_cap = 'shrink'"):
        refuses.fit(size - 1, Silent())


def test_ends_of_a_range() -> None:
    """Nothing but zeros at the coarse end, integers of 16 bits at the fine one, of 8 in groups."""
    for name, largest in (("int8", 32_767), ("pr219", 32_767), ("int4_group64", 127)):
        one = fitter(name, calibrated=False)
        fine = one.fit(10**6, Silent()).model.tensors["embedding"]
        assert isinstance(fine, (PerChannelQuantized, PerGroupQuantized))
        assert 0.95 * largest < np.abs(fine.symbols_OI).max() <= largest
        with pytest.raises(BudgetError, match="take at least") as caught:
            one.fit(100, Silent())
        coarse = one.fit(caught.value.values["smallest_bytes"], Silent()).model.tensors
        assert not any(tensor.weights().any() for n, tensor in coarse.items() if n != "blocks.0.scale")


def test_an_embedding_step() -> None:
    """Finer steps for the embedding alone."""
    coarse, fine = (fitter("best_published", embedding_step=step).fit(5000, Silent()) for step in (1.0, 0.25))
    spread = [float(np.abs(m.model.tensors["embedding"].symbols_OI).mean()) for m in (coarse, fine)]  # type: ignore[attr-defined]
    assert spread[1] > 2 * spread[0]


def test_impossible_options_are_refused_before_rounding() -> None:
    """Before anything is rounded."""
    with pytest.raises(ConfigError, match="no size of its own"):
        fitter("best_published").fit(None, Silent())
    with pytest.raises(ConfigError, match="no matrix of this checkpoint has more than 65,536 elements"):
        fitter("int8", keep_small=65_536)
    with pytest.raises(ConfigError, match="needs curvature measured on text"):
        fitter("pr1586", calibrated=False)
    with pytest.raises(ConfigError, match="an embedding step belongs to best_published"):
        fitter("pr1586", embedding_step=0.5)
    with pytest.raises(ConfigError, match=r"there is no scheme 'int9' .did you mean int8"):
        needs_text("int9")
    assert needs_text("pr332") and not needs_text("int8")
