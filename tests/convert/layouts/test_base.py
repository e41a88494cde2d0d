"""What layouts share: words, halves of bytes, scales over rows, groups and blocks."""

import pytest
import torch

from bytecap.convert.layouts.base import WeightParts, floats_of_4_bits, nibbles, spread, unpack
from bytecap.core.errors import DataError
from tests.convert.layouts.packing import e2m1, integers, scales, words


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_integers_are_unpacked_across_words(bits: int) -> None:
    """Integers across words too, words below zero too."""
    value = integers(0, (1 << bits) - 1, 3, 32)
    packed = torch.tensor([words(row, bits) for row in value.tolist()], dtype=torch.int32)
    assert torch.equal(unpack(packed, bits), value)


def test_halves_of_bytes() -> None:
    """Either half first; sixteen floats."""
    found = torch.tensor([0x21, 0xF8], dtype=torch.uint8)
    assert nibbles(found, low_first=True).tolist() == [1, 2, 8, 15]
    assert nibbles(found, low_first=False).tolist() == [2, 1, 15, 8]
    every = torch.tensor([code | (code + 1) << 4 for code in range(0, 16, 2)], dtype=torch.uint8)
    assert floats_of_4_bits(every).tolist() == [e2m1(code) for code in range(16)]


@pytest.mark.parametrize(
    ("shape", "config"),
    [
        ((), {}),
        ((1,), {}),
        ((6,), {}),
        ((6, 1), {}),
        ((6, 2), {}),
        ((3, 4), {}),
        ((2, 3), {"weight_block_size": [4, 3]}),
    ],
)
def test_each_number_has_the_scale_of_its_block(shape: tuple[int, ...], config: dict[str, object]) -> None:
    """Each number has the scale of its row and column over the size of a block."""
    scale, size = scales(*shape).float(), (6, 8)
    found = spread(scale, torch.Size(size), WeightParts("w", {}, config)).expand(size)
    table = scale.reshape(-1, 1) if scale.ndim < 2 else scale
    blocks = config.get("weight_block_size") or [-(-size[axis] // table.size(axis)) for axis in range(2)]
    assert isinstance(blocks, list)
    for row in range(6):
        for column in range(8):
            assert found[row, column] == table[row // blocks[0], column // blocks[1]]


def test_scales_that_do_not_fit() -> None:
    """Named with what there is."""
    for scale in (scales(5), scales(6, 5), scales(7, 1), scales(2, 2, 2)):
        parts = WeightParts("layer.0", {".weight_scale": scale})
        with pytest.raises(
            DataError, match=r"weight layer.0 cannot be read: its scales .* \(.weight_scale torch.float16"
        ):
            spread(scale, torch.Size((6, 8)), parts)
