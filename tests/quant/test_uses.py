"""Every use of a weight, as rows of inputs and of outputs, gives the gradient that autograd gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bytecap.quant.uses import LinearUse, linear_use

torch.manual_seed(0)
MODULES: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Linear(5, 7), (3, 4, 5)),
    (nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    (nn.Conv1d(4, 6, 5, stride=2, dilation=2, padding=4), (3, 4, 21)),
    (nn.Conv1d(4, 6, 4, padding="same"), (3, 4, 11)),
    (nn.Conv1d(6, 4, 3, groups=2), (3, 6, 8)),
    (nn.Conv1d(6, 6, 3, groups=6, bias=False), (3, 6, 8)),
    (nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 3, 7, 6)),
    (nn.Conv2d(3, 5, 3, padding_mode="circular", padding=1), (2, 3, 7, 6)),
    (nn.Conv3d(2, 3, (1, 2, 3), dilation=(1, 2, 1)), (2, 2, 3, 5, 6)),
    (nn.ConvTranspose1d(4, 3, 5, stride=2, padding=1), (2, 4, 6)),
    (nn.ConvTranspose2d(4, 3, (2, 3), stride=(2, 1), dilation=(1, 2)), (2, 4, 5, 6)),
]


class Watch(TorchFunctionMode):
    """The last linear use."""

    def __init__(self) -> None:
        super().__init__()
        self.use: LinearUse | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = linear_use(func, args, kwargs or {})
        self.use = self.use if found is None else found
        return func(*args, **(kwargs or {}))


def check(call: Callable[[], Tensor], weight: Tensor) -> None:
    """The sum over rows of output gradients times inputs is the gradient of the weight."""
    with Watch() as watch:
        out = call()
    assert watch.use is not None and watch.use.weight is weight
    gradient = torch.randn_like(out)
    (wanted,) = torch.autograd.grad(out, weight, gradient)
    use = watch.use
    x, g = torch.cat(list(use.input_rows(use.x))), torch.cat(list(use.output_rows(gradient)))
    if len(x) != len(g):  # groups: rows of a group's inputs belong to its own outputs
        groups = len(x) // (len(g))
        x = x.unflatten(0, (len(use.x), groups, -1)).transpose(0, 1).flatten(1, 2)
        g = g.unflatten(-1, (groups, -1)).transpose(0, 1)
        found = torch.cat([one.T @ rows for one, rows in zip(g, x, strict=True)])
    else:
        found = x.T @ g if use.swapped else g.T @ x
    assert torch.allclose(found.reshape(wanted.shape), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("module", "shape"), MODULES, ids=lambda value: str(value)[:60])
def test_modules(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Linear maps and convolutions of every kind."""
    x, weight = torch.randn(shape), module.weight
    assert isinstance(weight, Tensor)
    check(lambda: module(x), weight)


def test_products() -> None:
    """Weights kept as (inputs, outputs), by every function that multiplies."""
    x, weight, bias = torch.randn(3, 5), nn.Parameter(torch.randn(5, 7)), torch.zeros(7)
    check(lambda: x @ weight, weight)
    check(lambda: torch.randn(2, 3, 5).matmul(weight), weight)
    check(lambda: torch.mm(x, weight), weight)
    check(lambda: torch.addmm(bias, x, weight), weight)


def test_other_calls_are_none() -> None:
    """What is no linear map of one weight."""
    x = torch.randn(3, 5)
    assert linear_use(torch.relu, (x,), {}) is None
    assert linear_use(torch.matmul, (torch.randn(2, 3, 5), torch.randn(2, 5, 4)), {}) is None
