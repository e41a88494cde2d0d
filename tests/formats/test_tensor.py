"""Stored tensors give back exactly integer times step."""

from fractions import Fraction

import numpy as np

from bytecap.formats.floats import FloatTensor
from bytecap.formats.low_rank_corrected import LowRank, LowRankCorrected
from bytecap.formats.per_channel import PerChannelQuantized
from bytecap.formats.row_column import RowColumnQuantized
from bytecap.formats.steps import make_steps
from bytecap.formats.tensor import QuantizedModel
from bytecap.formats.trellis import to_levels


def test_weights_are_correctly_rounded_products() -> None:
    """Every weight is the float32 nearest to level times step."""
    rng = np.random.default_rng(0)
    symbols = rng.integers(-300, 300, (6, 5)).astype(np.int16)
    rows, columns = rng.integers(-20, 20, 6).astype(np.int8), rng.integers(-20, 20, 5).astype(np.int8)
    for states in (1, 8):
        weights = RowColumnQuantized("matrix", symbols, 0.037, rows, columns, states).weights()
        steps, levels = make_steps(0.037, rows, columns), to_levels(symbols, states)
        for i in range(6):
            for j in range(5):
                exact = Fraction(int(levels[i, j])) * Fraction(float(steps[i, j]))
                assert weights[i, j] == np.float32(float(exact))


def test_scaled_weights() -> None:
    """One 16-bit scale for each row."""
    scaled = PerChannelQuantized("matrix", np.array([[3, -4], [5, 0]], np.int16), np.array([0.5, 2.0], np.float16))
    assert scaled.weights().tolist() == [[1.5, -2.0], [10.0, 0.0]] and scaled.shape == (2, 2)


def test_repaired_weights() -> None:
    """The low-rank addition on top."""
    scaled = PerChannelQuantized("matrix", np.array([[3, -4], [5, 0]], np.int16), np.array([0.5, 2.0], np.float16))
    left, right = np.array([[1, 0], [-2, 1]], np.int8), np.array([[4, 0], [0, -8]], np.int8)
    repaired = LowRankCorrected(scaled, LowRank(left, np.float16(0.5), right, np.array([0.25], np.float16)))
    assert repaired.weights().tolist() == [[2.0, -2.0], [9.0, -1.0]]
    assert (repaired.shape, repaired.role) == ((2, 2), "matrix")


def test_model_counts_and_names() -> None:
    """A model counts its weights and gives them by name."""
    codes = np.zeros(2, np.int8), np.zeros(3, np.int8)
    stepped = RowColumnQuantized("matrix", np.zeros((2, 3), np.int16), 1.0, *codes, 1)
    half = FloatTensor("scalar", np.ones(4, np.float16))
    model = QuantizedModel({"a": stepped, "b": half})
    assert model.weights == 10
    assert {name: tuple(t.shape) for name, t in model.state_dict().items()} == {"a": (2, 3), "b": (4,)}
