"""Products through either library equal PyTorch's own, forward and backward."""

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from bytecap.core import products
from bytecap.core.products import (
    add_product,
    bfloat16_operands,
    has_bfloat16,
    linear,
    narrowed,
    product,
    product_over_rows,
    suits,
)

SHAPES = [((3, 5), 7), ((2, 3, 6), 4), ((1, 1), 1), ((33, 8), 8), ((2, 2, 2, 10), 3)]


@pytest.mark.parametrize("shape, outputs", SHAPES)
@pytest.mark.parametrize("onednn, mkl", [(True, False), (True, True), (False, False)])
def test_values_and_gradients(
    shape: tuple[int, ...], outputs: int, onednn: bool, mkl: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With oneDNN, left to MKL, and without oneDNN, also where the gradient has no memory of its own."""
    monkeypatch.setattr(products, "_has_onednn", lambda: onednn)
    monkeypatch.setattr(products, "_mkl_is_quicker", lambda: mkl)
    torch.manual_seed(0)
    x, weight_OI = torch.randn(shape), torch.randn(outputs, shape[-1])
    found: list[torch.Tensor] = []
    expected: list[torch.Tensor] = []
    for function, results in ((linear, found), (F.linear, expected)):
        mine, weight = x.clone().requires_grad_(), weight_OI.clone().requires_grad_()
        out = function(mine, weight)
        results.extend([out, *torch.autograd.grad(out.sum() + out.square().sum(), [mine, weight])])
        results.extend(torch.autograd.grad(function(mine, weight).sum(), [mine, weight]))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mkl", [False, True])
def test_transposed_and_summed(mkl: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forms without gradients, on views."""
    monkeypatch.setattr(products, "_mkl_is_quicker", lambda: mkl)
    left, right, start = torch.randn(6, 4), torch.randn(6, 3), torch.randn(4, 3)
    if suits(left, right):
        torch.testing.assert_close(product(left.T, right.T), left.T @ right)
        torch.testing.assert_close(product_over_rows(right, left), right.T @ left)
        torch.testing.assert_close(product_over_rows(left, right), left.T @ right)
        torch.testing.assert_close(add_product(start, left.T, right.T), start + left.T @ right)


@pytest.mark.parametrize(
    ("name", "quicker"), [("Intel(R) Xeon(R) Processor", True), ("Intel64 Family 6", True), ("AMD EPYC 9R14", False)]
)
def test_mkl_is_left_to_intel(name: str, quicker: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it would take slower instructions; where PyTorch has no MKL there is nothing to leave it to."""
    monkeypatch.setattr(products, "cpu_name", lambda: name)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert products._mkl_is_quicker.__wrapped__() == quicker
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert not products._mkl_is_quicker.__wrapped__()


def test_only_what_is_needed_has_a_gradient() -> None:
    """A frozen weight, and an input that needs no gradient."""
    x, weight = torch.randn(3, 4), torch.randn(2, 4, requires_grad=True)
    linear(x, weight).sum().backward()
    assert x.grad is None and weight.grad is not None
    assert not linear(x, weight.detach()).requires_grad
    with torch.no_grad():
        assert not linear(x, weight).requires_grad


def test_other_types_and_observers() -> None:
    """float64 and half precision go PyTorch's way, and so does everything while its functions are intercepted."""

    class Watch(TorchFunctionMode):
        seen = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.seen += func is F.linear
            return func(*args, **(kwargs or {}))

    for dtype in (torch.float64, torch.bfloat16):
        x = torch.ones(2, 3, dtype=dtype)
        assert not suits(x) and linear(x, x).dtype == dtype
    with Watch() as watch:
        linear(torch.ones(2, 3), torch.ones(4, 3))
    assert watch.seen == 1


@pytest.mark.skipif(not has_bfloat16(), reason="this processor multiplies no bfloat16")
def test_operands_of_bfloat16() -> None:
    """Operands are rounded and a complete sum once more; gradients too, also when they are asked for later on."""
    torch.manual_seed(0)
    x, weight_OI = (torch.randn(shape, requires_grad=True) for shape in ((3, 5, 40), (9, 40)))
    with bfloat16_operands(True):
        out = linear(x, weight_OI)
        with bfloat16_operands(False):
            assert narrowed(x) is x
    rounded_x, rounded_OI = (t.detach().bfloat16().double().requires_grad_() for t in (x, weight_OI))
    expected = F.linear(rounded_x, rounded_OI)
    torch.testing.assert_close(out.double(), expected, atol=1e-6, rtol=2**-8)
    back = torch.randn(3, 5, 9).bfloat16().float()
    found = torch.autograd.grad(out, [x, weight_OI], back)
    for mine, its in zip(found, torch.autograd.grad(expected, [rounded_x, rounded_OI], back.double()), strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), its, atol=1e-6, rtol=2**-8)
