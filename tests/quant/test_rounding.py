"""Rounded to the nearest multiple, element by element."""

import numpy as np
import pytest
import torch

from bytecap.core.errors import DataError, NumericsError
from bytecap.grids.grid import steps_of
from bytecap.grids.plan import FLOAT16, ROW_STEPS, BitPlan, TensorPlan
from bytecap.grids.tensor import QuantizedTensor
from bytecap.quant.rounding import round_model


def plan_of(codes: tuple[int, ...], shape: tuple[int, ...]) -> BitPlan:
    entry = TensorPlan(name="m", role="matrix", shape=shape, grid=ROW_STEPS, row_codes=codes)
    other = TensorPlan(name="s", role="scalar", shape=(2,), grid=FLOAT16)
    return BitPlan(made_from="x", dial=1.0, tensors=(entry, other))


def test_nearest_multiple() -> None:
    """No other integer is closer, and values beyond 16 bits stop at the last one."""
    torch.manual_seed(0)
    weight = torch.randn(4, 30)
    weight[0, 0] = 1e9
    codes = (150, 170, 180, 190)
    model = round_model({"m": weight, "s": torch.tensor([0.1, 2.0])}, plan_of(codes, (4, 30)), "x")
    stored = model.tensors["m"]
    assert isinstance(stored, QuantizedTensor) and stored.symbols_OI[0, 0] == 32767
    for i, step in enumerate(steps_of(np.array(codes, np.uint8)).tolist()):
        for j in range(1, 30):
            value, symbol = float(weight[i, j]), int(stored.symbols_OI[i, j])
            assert all(abs(value - symbol * step) <= abs(value - s * step) + 1e-9 for s in (symbol - 1, symbol + 1))
    assert model.tensors["s"].weights().tolist() == pytest.approx([0.1, 2.0], rel=1e-3)


def test_refusals() -> None:
    """A plan of another checkpoint, and a scalar too large for 16 bits."""
    weights = {"m": torch.ones(1, 2), "s": torch.tensor([1e6, 0.0])}
    with pytest.raises(DataError, match="made from checkpoint x, this is y"):
        round_model(weights, plan_of((9,), (1, 2)), "y")
    with pytest.raises(NumericsError, match="tensor s has values beyond"):
        round_model(weights, plan_of((9,), (1, 2)), "x")
