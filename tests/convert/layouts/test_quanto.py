"""quanto's 8 bits."""

import torch

from bytecap.convert.layouts.quanto import Quanto
from tests.convert.layouts.packing import integers, read, scales


def test_weights_are_integers_times_scales() -> None:
    """A product, one at a time."""
    q, scale = integers(-128, 127, 4, 6).to(torch.int8), scales(4, 1)
    found = read(Quanto, {"._data": q, "._scale": scale})
    assert all(found[row, c] == int(q[row, c]) * scale[row, 0].float() for row in range(4) for c in range(6))
