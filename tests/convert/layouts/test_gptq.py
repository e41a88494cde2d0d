"""GPTQ packed by its definition: rows of inputs in words, zero points less one."""

import pytest
import torch

from bytecap.convert.layouts.base import WeightParts
from bytecap.convert.layouts.gptq import GPTQ
from bytecap.core.errors import DataError
from tests.convert.layouts.packing import integers, read, scales, words

INPUTS, OUTPUTS, GROUP = 64, 32, 16


def packed(bits: int, *, v2: bool = False, order: bool = True) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Tensors of a weight, and its numbers, one at a time."""
    most = (1 << bits) - 1
    q, zero, scale = integers(0, most, INPUTS, OUTPUTS), integers(0, most, 4, OUTPUTS), scales(4, OUTPUTS)
    group = (
        torch.randperm(INPUTS, generator=torch.Generator().manual_seed(0)) // GROUP if order else torch.arange(64) // 16
    )
    stored = zero if v2 else (zero - 1) & most
    tensors = {
        ".qweight": torch.tensor([words(column, bits) for column in q.T.tolist()], dtype=torch.int32).T,
        ".qzeros": torch.tensor([words(row, bits) for row in stored.tolist()], dtype=torch.int32),
        ".scales": scale, **({".g_idx": group.int()} if order else {}),
    }  # fmt: skip
    wanted = torch.zeros(OUTPUTS, INPUTS)
    for i in range(INPUTS):
        for o in range(OUTPUTS):
            wanted[o, i] = scale[group[i], o].float() * int(q[i, o] - zero[group[i], o])
    return tensors, wanted


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_both_versions_are_dequantized(bits: int) -> None:
    """Both versions, with groups in any order and without."""
    for v2, order in ((False, True), (True, False)):
        tensors, wanted = packed(bits, v2=v2, order=order)
        config = {"checkpoint_format": "gptq_v2"} if v2 else {}
        assert torch.equal(read(GPTQ, tensors, **config), wanted)


def test_damaged_groups_and_zero_points_are_refused() -> None:
    """A group that is not there, another number of inputs, zero points of another matrix."""
    tensors = packed(4)[0]
    for end, value in (
        (".g_idx", tensors[".g_idx"] + 1),
        (".g_idx", tensors[".g_idx"][1:]),
        (".qzeros", tensors[".qzeros"][:2]),
    ):
        with pytest.raises(DataError, match="the quantized weight w cannot be read"):
            GPTQ().numbers(WeightParts("w", tensors | {end: value}))
