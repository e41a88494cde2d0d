"""Stored tensors give back exactly integer times step."""

from fractions import Fraction

import numpy as np

from bytecap.grids.grid import steps_of
from bytecap.grids.tensor import Float16Tensor, QuantizedModel, QuantizedTensor


def test_weights_are_correctly_rounded_products() -> None:
    """Every weight is the float32 nearest to the exact product."""
    rng = np.random.default_rng(0)
    symbols = rng.integers(-300, 300, (6, 5)).astype(np.int16)
    codes = rng.integers(0, 256, 6).astype(np.uint8)
    weights = QuantizedTensor("matrix", symbols, codes).weights().numpy()
    for i, step in enumerate(steps_of(codes)):
        for j in range(5):
            exact = Fraction(int(symbols[i, j])) * Fraction(float(step))
            assert weights[i, j] == np.float32(float(exact))


def test_model_counts_and_names() -> None:
    """A model counts its weights and gives them by name."""
    quantized = QuantizedTensor("matrix", np.zeros((2, 3), np.int16), np.zeros(2, np.uint8))
    half = Float16Tensor("scalar", np.ones(4, np.float16))
    model = QuantizedModel({"a": quantized, "b": half})
    assert model.weights == 10
    assert {name: tuple(t.shape) for name, t in model.state_dict().items()} == {"a": (2, 3), "b": (4,)}
