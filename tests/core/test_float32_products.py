"""Products keep the error of float32, and the switch is left alone where a processor would round operands."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from bytecap.core import float32_products
from bytecap.core.float32_products import onednn_float32


@pytest.mark.parametrize("on", [True, False])
def test_products_of_onednn_stay_float32(on: bool) -> None:
    """Whatever the processor, PyTorch's own products have the error of float32; the switch is as it was afterwards."""
    torch.manual_seed(0)
    x_NI, weight_OI = torch.rand(300, 500), torch.rand(200, 500)
    before = torch.get_float32_matmul_precision()
    with onednn_float32(on):
        assert on or torch.get_float32_matmul_precision() == before
        found = F.linear(x_NI, weight_OI)
    assert torch.get_float32_matmul_precision() == before
    assert float((found.double() / F.linear(x_NI.double(), weight_OI.double()) - 1).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_has_amx", lambda: True),
        ("platform", SimpleNamespace(machine=lambda: "aarch64")),
        ("_ROUNDED", 0.0),  # as if the product of the trial had been rounded
    ],
)
def test_the_switch_is_left_alone(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a processor has units for bfloat16 matrices, and where a trial shows rounded operands."""
    monkeypatch.setattr(float32_products, name, value)
    float32_products._faster_is_float32.cache_clear()
    before = torch.get_float32_matmul_precision()
    with onednn_float32(True):
        assert torch.get_float32_matmul_precision() == before
    float32_products._faster_is_float32.cache_clear()


def test_a_pytorch_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken for one on a processor with AMX."""
    monkeypatch.setattr(torch, "cpu", SimpleNamespace())
    assert float32_products._has_amx()
