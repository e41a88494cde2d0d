"""NF4 packed by its definition, with largest numbers as they are and quantized themselves."""

import json
from typing import Any

import pytest
import torch

from bytecap.convert.layouts.base import WeightParts
from bytecap.convert.layouts.bitsandbytes_4bit import BitsAndBytes4
from bytecap.core.errors import DataError
from tests.convert.layouts.packing import integers, read, scales

SHAPE, BLOCK = (5, 31), 64


def packed(*, nested: bool) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Tensors of a weight of an odd number of numbers, and the numbers, one at a time."""
    count = SHAPE[0] * SHAPE[1]
    code, table = [*integers(0, 15, count).tolist(), 0], torch.linspace(-1, 1, 16)
    state: dict[str, Any] = {"quant_type": "nf4", "blocksize": BLOCK, "dtype": "float16", "shape": list(SHAPE)}
    tensors = {
        "": torch.tensor([code[at] << 4 | code[at + 1] for at in range(0, count, 2)], dtype=torch.uint8)[:, None],
        ".quant_map": table, ".absmax": scales(3, dtype=torch.float32),
    }  # fmt: skip
    most = tensors[".absmax"]
    if nested:
        state |= {"nested_blocksize": 2, "nested_offset": 0.25, "nested_dtype": "float32"}
        inner, means = integers(0, 255, 3), scales(2, dtype=torch.float32)
        tensors |= {
            ".absmax": inner.to(torch.uint8),
            ".nested_absmax": means,
            ".nested_quant_map": torch.linspace(-1, 1, 256),
        }
        most = torch.stack([tensors[".nested_quant_map"][inner[at]] * means[at // 2] + 0.25 for at in range(3)])
    tensors[".quant_state.bitsandbytes__nf4"] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    wanted = torch.stack([table[code[at]] * most[at // BLOCK] for at in range(count)]).reshape(SHAPE)
    return tensors, wanted


@pytest.mark.parametrize("nested", [False, True])
def test_weights_are_dequantized_exactly(nested: bool) -> None:
    """Exactly."""
    tensors, wanted = packed(nested=nested)
    assert torch.equal(read(BitsAndBytes4, tensors), wanted)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (b"nonsense", "is no JSON"),
        (b"[]", "is no JSON"),
        (b"{}", "no shape or block"),
        (b'{"shape": [1000000, 1000000], "blocksize": 64}', "its shape is another"),
        (b'{"shape": [-1, -155], "blocksize": 64}', "its shape is another"),
        (b'{"shape": [5, 31], "blocksize": 32}', "it has other blocks"),
    ],
)
def test_forged_states(state: bytes, said: str) -> None:
    """No shape takes memory that the bytes do not explain."""
    tensors = packed(nested=False)[0]
    tensors[".quant_state.bitsandbytes__nf4"] = torch.tensor(list(state), dtype=torch.uint8)
    with pytest.raises(DataError, match=said):
        BitsAndBytes4().numbers(WeightParts("w", tensors))
    with pytest.raises(DataError, match="its quant_state is missing"):
        BitsAndBytes4().numbers(WeightParts("w", {end: tensors[end] for end in BitsAndBytes4.ends}))
