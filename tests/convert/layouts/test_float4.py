"""Floats of 4 bits without a scale."""

import torch

from bytecap.convert.layouts.float4 import Float4
from tests.convert.layouts.packing import e2m1, integers, read


def test_the_low_half_comes_first() -> None:
    """The low half first."""
    byte = integers(0, 255, 3, 4).to(torch.uint8)
    found = read(Float4, {"": byte.view(torch.float4_e2m1fn_x2)})
    assert found.tolist() == [[e2m1(half) for b in row for half in (b & 15, b >> 4)] for row in byte.tolist()]
