"""Integers and floats of 8 bits with scales for rows, with zero points and without."""

import torch

from bytecap.convert.layouts.base import WeightParts
from bytecap.convert.layouts.scaled import Scaled
from tests.convert.layouts.packing import integers, read, scales


def test_weights_are_numbers_times_scales() -> None:
    """One at a time."""
    q, scale, zero = integers(-128, 127, 6, 8).to(torch.int8), scales(6, 2), integers(-9, 9, 6, 2).to(torch.int8)
    found = read(Scaled, {".weight": q, ".weight_scale": scale, ".weight_zero_point": zero})
    plain = read(Scaled, {".weight": q, ".weight_scale": scale})
    for row in range(6):
        for column in range(8):
            size = scale[row, column // 4].float()
            assert found[row, column] == (int(q[row, column]) - int(zero[row, column // 4])) * size
            assert plain[row, column] == int(q[row, column]) * size
    eight = q.float().to(torch.float8_e4m3fn)
    assert torch.equal(
        read(Scaled, {".weight": eight, ".weight_scale": scale[0, 0]}), eight.float() * scale[0, 0].float()
    )
    assert not Scaled().recognizes(WeightParts("w", {".weight": q.float(), ".weight_scale": scale}))
