"""Floats of 8 bits with scales of blocks, block by block; the last ones are smaller."""

import pytest
import torch

from bytecap.convert.layouts.base import WeightParts
from bytecap.convert.layouts.float8_blocks import Float8Blocks
from bytecap.core.errors import DataError
from tests.convert.layouts.packing import random, read, scales


@pytest.mark.parametrize("block", [128, 32])
def test_weights_are_dequantized_by_block(block: int) -> None:
    """128 where the config does not say."""
    weight = torch.from_numpy(random.standard_normal((200, 300))).to(torch.float8_e4m3fn)
    scale = scales(-(-200 // block), -(-300 // block), dtype=torch.float32)
    config = {} if block == 128 else {"weight_block_size": [block, block]}
    found = read(Float8Blocks, {".weight": weight, ".weight_scale_inv": scale}, **config)
    for row in range(0, 200, block):
        for column in range(0, 300, block):
            part = weight[row : row + block, column : column + block].float() * scale[row // block, column // block]
            assert torch.equal(found[row : row + block, column : column + block], part)
    with pytest.raises(DataError, match="its scales"):
        Float8Blocks().numbers(WeightParts("w", {".weight": weight, ".weight_scale_inv": scale[:0]}))
