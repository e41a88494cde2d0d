"""AWQ packed by its definition: eight outputs to a word in an order of their own."""

import pytest
import torch

from bytecap.convert.layouts.awq import AWQ
from bytecap.convert.layouts.base import WeightParts
from bytecap.convert.layouts.gptq import GPTQ
from bytecap.core.errors import DataError
from tests.convert.layouts.packing import integers, read, scales

INPUTS, OUTPUTS, GROUP = 64, 32, 16


def packed(values: torch.Tensor) -> torch.Tensor:
    """Words, one number at a time."""
    order, found = [0, 2, 4, 6, 1, 3, 5, 7], torch.zeros(len(values), values.size(1) // 8, dtype=torch.int64)
    for row in range(len(values)):
        for column in range(found.size(1)):
            for place in range(8):
                found[row, column] |= int(values[row, 8 * column + order[place]]) << (4 * place)
    return found.int()


def test_weights_are_dequantized_by_group() -> None:
    """Each weight by its group; GPTQ does not take them for its own."""
    q, zero, scale = integers(0, 15, INPUTS, OUTPUTS), integers(0, 15, 4, OUTPUTS), scales(4, OUTPUTS)
    tensors = {".qweight": packed(q), ".qzeros": packed(zero), ".scales": scale}
    found = read(AWQ, tensors)
    for i in range(INPUTS):
        for o in range(OUTPUTS):
            assert found[o, i] == scale[i // GROUP, o].float() * int(q[i, o] - zero[i // GROUP, o])
    assert not GPTQ().recognizes(WeightParts("w", tensors))
    with pytest.raises(DataError, match="zero points are not those of its groups"):
        AWQ().numbers(WeightParts("w", tensors | {".qzeros": packed(zero[:2])}))
