"""LLM.int8(): rows by their largest numbers; what bitsandbytes itself gives back."""

import pytest
import torch

from bytecap.convert.layouts.base import WeightParts
from bytecap.convert.layouts.bitsandbytes_8bit import BitsAndBytes8
from bytecap.core.errors import DataError
from tests.convert.layouts.packing import integers, read, scales


def test_weights_are_dequantized_by_row() -> None:
    """One at a time; rows in a GPU's order are refused."""
    q, most = integers(-127, 127, 4, 6).to(torch.int8), scales(4, dtype=torch.float32)
    tensors = {".weight": q, ".SCB": most, ".weight_format": torch.tensor(0, dtype=torch.uint8)}
    found = read(BitsAndBytes8, tensors)
    assert all(found[row, c] == int(q[row, c]) * (most[row] / 127.0) for row in range(4) for c in range(6))
    with pytest.raises(DataError, match="an order of one kind of GPU"):
        BitsAndBytes8().numbers(WeightParts("w", tensors | {".weight_format": torch.tensor(1, dtype=torch.uint8)}))
    with pytest.raises(DataError, match="another number of rows"):
        BitsAndBytes8().numbers(WeightParts("w", tensors | {".SCB": most[1:]}))
