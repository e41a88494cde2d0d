"""Measured is what numpy would measure; broken weights are named."""

import numpy as np
import pytest
import torch

from bytecap.core.errors import NumericsError
from bytecap.quant.calibration import calibrate


def test_row_deviation() -> None:
    """One number for each row of a matrix, none for vectors."""
    weights = {"m": torch.arange(6.0).view(2, 3), "s": torch.ones(3)}
    found = calibrate(weights, {"m": "matrix", "s": "scalar"}, "x")
    assert found.tensors[0].row_std is not None
    assert np.allclose(found.tensors[0].row_std, [np.std([0, 1, 2]), np.std([3, 4, 5])])
    assert found.tensors[1].row_std is None and found.tensors[1].shape == (3,)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights(value: float) -> None:
    """NaN and infinity name the tensor."""
    with pytest.raises(NumericsError, match="tensor m holds NaN or infinity"):
        calibrate({"m": torch.full((2, 2), value)}, {"m": "matrix"}, "x")
