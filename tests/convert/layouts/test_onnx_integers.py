"""Integers with scales of ONNX graphs."""

import pytest
import torch

from bytecap.convert.layouts.base import WeightParts
from bytecap.convert.layouts.onnx_integers import ONNXIntegers
from bytecap.core.errors import DataError
from tests.convert.layouts.packing import integers, read, scales


def test_weights_are_differences_times_scales() -> None:
    """One number at a time, along the axis of the scales."""
    q, scale, zero = integers(0, 255, 3, 4, 2).to(torch.uint8), scales(1, 4, 1), integers(0, 255, 1, 4, 1)
    found = read(ONNXIntegers, {"_quantized": q, "_scale": scale, "_zero_point": zero.to(torch.uint8)})
    for a, b, c in ((a, b, c) for a in range(3) for b in range(4) for c in range(2)):
        assert found[a, b, c] == (int(q[a, b, c]) - int(zero[0, b, 0])) * scale[0, b, 0].float()


def test_scales_of_other_shapes_are_refused() -> None:
    """They would be stretched along the wrong axis."""
    parts = WeightParts("w", {"_quantized": integers(0, 9, 4, 4).to(torch.uint8), "_scale": scales(4)})
    with pytest.raises(DataError, match="w cannot be read: its scales or zero points have other axes"):
        ONNXIntegers().numbers(parts)
