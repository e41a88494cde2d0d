"""Steps of weights of which nothing was measured, and what plain rounding makes of the same bytes."""

import math

import numpy as np
import pytest
import zstandard

from bytecap.artifact.pack import Provenance
from bytecap.core.budget import FileBudget
from bytecap.core.progress import Silent
from bytecap.fitting.data_free import (
    COARSEST_STEP,
    INPUT_STEP,
    MOST_FED_BACK,
    NEIGHBOURS,
    matrix_factors,
    number_size,
    outputs_last_factors,
    relative_factors,
    vector_step,
)
from bytecap.fitting.job import Container, build_job
from bytecap.fitting.passes import rounding_pass
from bytecap.fitting.source import WeightSource
from bytecap.fitting.structure import Part
from bytecap.formats.plan import TensorPlan
from bytecap.formats.row_column import ROW_COLUMN
from bytecap.formats.trellis import SCALAR
from bytecap.quant.allocation import QuantConfig, Shape
from bytecap.quant.factors import Factors

ABOUT = Provenance(
    recipe_digest="", corpus_digest="", checkpoint_digest="", tokenizer_digest="", lossless=False, context=1
)


def fitted(weights: dict[str, np.ndarray], cap: int) -> dict[str, np.ndarray]:
    """The weights of a file of at most `cap` bytes."""
    shapes = [Shape(n, "matrix" if w.ndim > 1 else "scalar", w.shape) for n, w in weights.items()]
    job = build_job(WeightSource(weights, shapes, "x", None), None, QuantConfig(states=8), Container(ABOUT))
    artifact = job.fit(FileBudget(cap), Silent()).artifact
    assert artifact.size_bytes <= cap
    return {name: value.numpy() for name, value in artifact.quantized.state_dict().items()}


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found.astype(float) - wanted) / np.linalg.norm(wanted.astype(float)))


def plain(weight: np.ndarray, bits: int) -> tuple[int, float]:
    """Bytes behind zstd-19 and relative error of round to nearest with a 16-bit scale for each row."""
    rows = weight.reshape(len(weight), -1)
    scales = (np.abs(rows).max(1, keepdims=True) / (2 ** (bits - 1) - 1)).astype(np.float16).astype(np.float32)
    integers = np.rint(rows / scales).astype(np.int8)
    size = sum(
        len(zstandard.ZstdCompressor(level=19).compress(part.tobytes()))
        for part in (integers, scales.astype(np.float16))
    )
    return size, relative((integers * scales).reshape(weight.shape), weight)


@pytest.mark.parametrize("bits", [8, 6, 4, 3])
def test_kernels_lose_less_than_by_plain_rounding(bits: int) -> None:
    """Kernels of one axis and two, a matrix and a vector, at the bytes of plain integers."""
    rng = np.random.default_rng(0)
    shapes = {"a": (48, 24, 3, 3), "b": (48, 48, 5), "c": (40, 96)}
    weights = {name: 0.1 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    found = {name: plain(weight, bits) for name, weight in weights.items()}
    ours = fitted(weights, sum(size for size, _ in found.values()) + 300)
    assert sum(relative(ours[n], w) ** 2 for n, w in weights.items()) < sum(e**2 for _, e in found.values())


def test_a_step_is_relative_to_its_tensor() -> None:
    """A hundred times larger weights have a hundred times larger steps, four times as many weights twice as large."""
    weight = np.random.default_rng(0).normal(size=(16, 32)).astype(np.float32)
    one, larger = matrix_factors(weight).outputs, matrix_factors(100 * weight).outputs
    assert np.allclose(larger, 100 * one, rtol=1e-4)
    assert np.allclose(matrix_factors(np.tile(weight, (2, 2))).outputs, 2 * np.tile(one, 2), rtol=1e-4)
    assert np.ptp(one) == 0


def test_rows_of_kernels_and_gates_follow_their_size() -> None:
    """Those of a kernel half of it on a logarithmic scale, gates, rows or columns, and outputs all of it."""
    weight = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32) * np.repeat([[1.0], [16.0]], 32, axis=0)
    kernel, gates = matrix_factors(weight, (1, 1)), matrix_factors(weight, part=Part(gates=0))
    columns = matrix_factors(np.ascontiguousarray(weight.T), part=Part(gates=1))
    outputs = matrix_factors(weight, part=Part(gives_output=True))
    for found, ratio in ((kernel.outputs, 4), (gates.outputs, 16), (columns.inputs, 16), (outputs.outputs, 16)):
        assert found[32:].mean() / found[:32].mean() == pytest.approx(ratio, rel=0.1)


def test_what_reads_inputs_has_finer_steps() -> None:
    """Embeddings and first maps, by their shapes; a map between others does not."""
    draw = np.random.default_rng(0)
    weights = {"table": draw.normal(size=(128, 16)), "map": draw.normal(size=(16, 16))}
    shapes = [Shape(name, "matrix", weight.shape) for name, weight in weights.items()]
    found = relative_factors(shapes, {n: w.astype(np.float32) for n, w in weights.items()}, {}, weights)
    for name, share in (("table", INPUT_STEP), ("map", 1.0)):
        alone = matrix_factors(weights[name].astype(np.float32))
        assert np.allclose(found[name].outputs, share * alone.outputs)


def test_columns_follow_half_of_their_size_in_a_matrix_alone() -> None:
    """What reads large inputs has small weights; the places of a kernel are no inputs of their own size."""
    weight = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32) * np.repeat([1, 16], 16)
    ratio = matrix_factors(weight).inputs[16:].mean() / matrix_factors(weight).inputs[:16].mean()
    assert ratio == pytest.approx(4, rel=0.1)
    assert (matrix_factors(weight, (8,)).column_factors_I == 1).all()


@pytest.mark.parametrize("places", [(3, 3), (7,), (1, 4), (2, 3, 2)])
def test_errors_of_a_kernel_are_made_up_for_at_the_next_places(places: tuple[int, ...]) -> None:
    """Its factor is that of inputs whose correlation falls off by the same share from place to place."""
    where = np.indices(places).reshape(len(places), -1).T
    alike = NEIGHBOURS ** np.abs(where[:, None] - where[None]).sum(axis=-1)
    count = math.prod(places)
    factors = matrix_factors(np.ones((4, 5 * count), np.float32), places)
    assert factors.repeats == 5 and np.array_equal(factors.inputs, np.triu(factors.inputs))
    assert np.allclose(factors.inputs.T @ factors.inputs @ alike, np.eye(count), atol=1e-9)


def test_the_sum_of_each_kernel_is_kept() -> None:
    """An input that is the same everywhere sees less than half of the error that it would without feedback."""
    signal = np.cumsum(np.random.default_rng(0).normal(size=(32, 16, 6, 6)), axis=-1).astype(np.float32)
    weight = (signal - signal.mean()).reshape(32, -1)
    factors = matrix_factors(weight, (6, 6))
    plan = TensorPlan(
        name="w", role="matrix", shape=weight.shape, format=ROW_COLUMN, base=2.0, states=8, row_codes=(0,) * 32,
        column_codes=(0,) * weight.shape[1],
    )  # fmt: skip
    sums = []
    for each in (factors, Factors(np.ones(weight.shape[1]), factors.outputs)):
        found = rounding_pass([plan], {"w": weight}, {"w": each}, None, Silent())["w"].stored.weights()
        sums.append(np.linalg.norm((found.reshape(weight.shape) - weight).reshape(32, 16, 36).sum(axis=-1)))
    assert sums[0] < 0.5 * sums[1]


def test_kernels_over_symbols_have_no_feedback() -> None:
    """Several channels, weights uncorrelated: neighbours have nothing in common; of waves over one channel they do."""
    weight = np.random.default_rng(0).normal(size=(16, 8 * 5)).astype(np.float32)
    smooth = (weight.reshape(16, 8, 5) + weight.reshape(16, 8, 5).mean(axis=-1, keepdims=True) * 3).reshape(16, 40)
    assert np.array_equal(matrix_factors(weight, (5,)).inputs, np.eye(5))
    for alike, places, mean in ((smooth, (5,), 0.8 * math.log(1 / 0.6)), (weight, (40,), 0)):
        found = matrix_factors(alike, places)
        assert found.inputs[0, 1] < 0 and np.log(found.column_factors_I).mean() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (5, 6, 12)])
def test_a_kernel_with_outputs_last_has_the_same_loss(shape: tuple[int, ...]) -> None:
    """Keras keeps (places, inputs, outputs), PyTorch (outputs, inputs, places); a fit of either turns nothing."""
    *places, channels, outputs = shape
    draw = np.random.default_rng(0)
    torch_OCK = np.cumsum(draw.normal(size=(outputs, channels, *places)), axis=-1).astype(np.float32)
    keras = np.moveaxis(torch_OCK, (0, 1), (-1, -2))
    ours = outputs_last_factors(np.ascontiguousarray(keras).reshape(-1, outputs), shape)
    theirs = matrix_factors(torch_OCK.reshape(outputs, -1), tuple(places))
    error = draw.normal(size=torch_OCK.shape)
    turned = np.moveaxis(error, (0, 1), (-1, -2)).reshape(-1, outputs)
    assert ours.outputs.ndim == 2 and ours.loss(turned) == pytest.approx(theirs.loss(error.reshape(outputs, -1)))
    flat = outputs_last_factors(
        draw.normal(size=(shape[0] * channels, outputs)).astype(np.float32), (shape[0], channels, outputs)
    )
    assert flat.outputs.ndim == 1


def test_a_grid_of_positions_is_no_kernel() -> None:
    """A table of 128 by 128 places would need a factor of two gigabytes."""
    weight = np.ones((4, 128 * 128), np.float32)
    assert matrix_factors(weight, (128, 128)).inputs.shape == (128 * 128,)
    assert matrix_factors(weight, (2, MOST_FED_BACK // 2)).inputs.shape == (MOST_FED_BACK, MOST_FED_BACK)


@pytest.mark.parametrize("states", [SCALAR, 8])
def test_small_weights_beside_large_ones_are_not_made_larger(states: int) -> None:
    """A detector of what is soft shuts out what is loud: an error there is at most the weight itself."""
    weight = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
    weight[5, :32] *= 1e-3
    plan = TensorPlan(
        name="w", role="matrix", shape=weight.shape, format=ROW_COLUMN, base=0.1, states=states, row_codes=(0,) * 32,
        column_codes=(0,) * 64,
    )  # fmt: skip
    factors = {"w": Factors(np.ones(64), np.ones(32))}
    without, with_prices = (
        rounding_pass([plan], {"w": weight}, factors, price, Silent())["w"].stored.weights()[5, :32]
        for price in (None, 0.0)
    )
    assert (without == 0).all()
    assert (with_prices == 0).all() == (states == SCALAR)


def test_numbers_of_one_sign_have_errors_of_their_own_size() -> None:
    """A small variance between large ones counts; the size of a bias is its root mean square."""
    assert number_size(np.array([1e-3, 1.0, 1.0, 1.0], np.float32)) == pytest.approx(2e-3, rel=1e-3)
    assert number_size(np.array([3.0, -4.0], np.float32)) == pytest.approx(12.5**0.5)
    few_large = np.array([150.0, -0.3, 0.2, 0.1, -0.2, 0.0], np.float32)
    assert number_size(few_large) == pytest.approx(0.2 / 0.6745)
    assert vector_step(np.zeros(5, np.float32)) is None
    step = vector_step(np.full(5, 2.0, np.float32))
    assert step is not None and step.at(1e9) == COARSEST_STEP * 2.0 and step.at(1e-9) == step.finest


@pytest.mark.parametrize("size", [3e-8, 1e-6, 1e-33, 1e30])
def test_numbers_of_any_size_are_kept(size: float) -> None:
    """Vectors far below and above what float16 holds keep a relative error of a thousandth."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(32, 64)).astype(np.float32),
        "v": np.asarray(size * (1 + 0.2 * rng.normal(size=64)), np.float32),
        "t": np.asarray(size, np.float32),
        "m": (size * rng.normal(size=(8, 40))).astype(np.float32),
    }
    ours = fitted(weights, 5000)
    assert relative(ours["v"], weights["v"]) < 1e-3 and relative(ours["m"], weights["m"]) < 0.01
    assert ours["t"] == pytest.approx(weights["t"], rel=1e-3)


def test_a_large_vector_does_not_hold_a_file_up() -> None:
    """Its coarsest step is that of a matrix as large; a small one keeps three bits."""
    draw = np.random.default_rng(0)
    small, large = (vector_step(draw.normal(size=size).astype(np.float32)) for size in (4_096, 1 << 18))
    assert small is not None and small.at(1e6) == pytest.approx(1 / 8, rel=0.05)
    assert large is not None and large.at(1e6) == pytest.approx(1.0, rel=0.05) and large.at(1e-9) < 1e-3
