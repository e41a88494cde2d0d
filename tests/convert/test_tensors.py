"""What a safetensors file holds, and what it refuses by name."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from bytecap.convert.tensors import HELD, separate
from bytecap.core.errors import DataError


def test_views_ties_and_strides() -> None:
    """The numbers are the same, none shares memory, and what needed no copy is none."""
    base = torch.arange(24.0).reshape(2, 3, 2, 2)
    tensors = {
        "last": base.to(memory_format=torch.channels_last), "half": base[:1], "turned": base.permute(3, 2, 1, 0),
        "tied": base, "spread": torch.ones(1).expand(5, 5), "negative": torch.ones(2, dtype=torch.cfloat).conj().imag,
        "alone": torch.ones(3), "parameter": torch.nn.Parameter(torch.ones(2)), "scalar": torch.tensor(2.5),
    }  # fmt: skip
    held = separate(tensors, 1 << 20)
    for name, value in tensors.items():
        assert torch.equal(held[name], value) and held[name].is_contiguous() and not held[name].requires_grad
    places = [value.untyped_storage().data_ptr() for value in held.values()]
    assert len(set(places)) == len(places) and held["alone"] is not None
    assert held["alone"].data_ptr() == tensors["alone"].data_ptr()
    assert set(load(save(held))) == set(tensors)


@pytest.mark.parametrize("dtype", sorted(HELD, key=str), ids=str)
def test_every_type_survives(dtype: torch.dtype) -> None:
    """To the last bit."""
    value = torch.arange(12).reshape(3, 4).to(dtype)[:, 1:3]
    back = load(save(separate({"w": value}, 1 << 20)))["w"]
    assert back.dtype == dtype and torch.equal(back.double(), value.double())


def quantized() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.ones(2, 2).to_sparse(), r"tensor w is not dense .*to_dense"),
        (torch.ones(2, dtype=torch.complex64), "view_as_real"),
        (torch.empty(2, device="meta"), "no numbers"),
        (torch.empty(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "float4.*16 or 32 bits"),
        (torch.ones(1).expand(1 << 40), "would take"),
    ],
)
def test_refused_by_name(value: torch.Tensor, said: str) -> None:
    """With what to do."""
    with pytest.raises(DataError, match=said):
        separate({"w": value}, 1 << 20)


@pytest.mark.filterwarnings("ignore")
def test_quantized_and_unprintable() -> None:
    """Integers with scales of their own, and names that would move a terminal's cursor."""
    with pytest.raises(DataError, match=r"tensor w is quantized .*dequantize"):
        separate({"w": quantized()}, 1 << 20)
    with pytest.raises(DataError, match="cannot be printed"):
        separate({"w\n\x1b[2J": torch.ones(2)}, 1 << 20)
