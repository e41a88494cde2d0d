"""compressed-tensors' packed integers by the definition: offset, packed along rows, scales of groups."""

import pytest
import torch

from bytecap.convert.layouts.base import WeightParts
from bytecap.convert.layouts.packed_integers import PackedIntegers
from bytecap.core.errors import DataError
from tests.convert.layouts.packing import integers, read, scales, words


@pytest.mark.parametrize("bits", [4, 8])
def test_unfilled_words_and_packed_zero_points(bits: int) -> None:
    """Rows that do not fill their last word; zero points packed along the outputs."""
    half, rows, columns = 1 << (bits - 1), 6, 30
    q, zero, scale = integers(-half, half - 1, rows, columns), integers(-half, half - 1, rows, 2), scales(rows, 2)
    tensors = {
        ".weight_packed": torch.tensor([words([v + half for v in row], bits) for row in q.tolist()], dtype=torch.int32),
        ".weight_scale": scale, ".weight_shape": torch.tensor([rows, columns]),
        ".weight_zero_point": torch.tensor(
            [words([v + half for v in column], bits) for column in zero.T.tolist()], dtype=torch.int32
        ).T,
    }  # fmt: skip
    found = read(PackedIntegers, tensors)
    for row in range(rows):
        for column in range(columns):
            group = column // 15
            assert found[row, column] == int(q[row, column] - zero[row, group]) * scale[row, group].float()
    with pytest.raises(DataError, match="its shape is another"):
        PackedIntegers().numbers(WeightParts("w", tensors | {".weight_shape": torch.tensor([rows + 1, columns])}))
    with pytest.raises(DataError, match="too many or too few"):
        PackedIntegers().numbers(WeightParts("w", tensors | {".weight_shape": torch.tensor([rows, 10**9])}))
