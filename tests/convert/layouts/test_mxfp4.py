"""MXFP4 one number at a time; what transformers' own function gives."""

import torch
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from bytecap.convert.layouts.mxfp4 import MXFP4
from tests.convert.layouts.packing import e2m1, integers, read


def test_experts_are_dequantized_inputs_first() -> None:
    """Experts come out with their inputs first."""
    blocks, scales = integers(0, 255, 2, 3, 2, 16).to(torch.uint8), integers(120, 130, 2, 3, 2).to(torch.uint8)
    found = read(MXFP4, {"_blocks": blocks, "_scales": scales})
    assert found.shape == (2, 64, 3)
    for expert, output, column in [(e, o, i) for e in range(2) for o in range(3) for i in range(64)]:
        byte = int(blocks[expert, output, column // 32, column % 32 // 2])
        code = byte >> 4 if column % 2 else byte & 15
        size = 2.0 ** (int(scales[expert, output, column // 32]) - 127)
        assert found[expert, column, output] == e2m1(code) * size
    theirs = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    assert torch.equal(found, theirs)
