"""NVFP4 one number at a time."""

import pytest
import torch

from bytecap.convert.layouts.base import WeightParts
from bytecap.convert.layouts.nvfp4 import NVFP4
from bytecap.core.errors import DataError
from tests.convert.layouts.packing import e2m1, integers, read, scales


def test_groups_of_16_columns_and_one_scale_for_all() -> None:
    """Groups of 16 columns, and one scale for all."""
    byte, scale = integers(0, 255, 3, 16).to(torch.uint8), scales(3, 2, dtype=torch.float32).to(torch.float8_e4m3fn)
    whole = torch.tensor(0.37)
    tensors = {".weight": byte, ".weight_scale": scale, ".weight_scale_2": whole}
    found = read(NVFP4, tensors)
    for row in range(3):
        for column in range(32):
            pair = int(byte[row, column // 2])
            code = pair >> 4 if column % 2 else pair & 15
            assert found[row, column] == e2m1(code) * (scale[row, column // 16].float() * whole)
    with pytest.raises(DataError, match="more than one scale for the whole"):
        NVFP4().numbers(WeightParts("w", tensors | {".weight_scale_2": torch.ones(2)}))
