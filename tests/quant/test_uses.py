"""Every use of a weight, as rows of inputs and of outputs, gives the gradient that autograd gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bytecap.quant.parameters import Layout, Parameters, arrange
from bytecap.quant.uses import LinearUse, linear_uses

torch.manual_seed(0)
MODULES: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Linear(5, 7), (3, 4, 5)),
    (nn.Linear(5, 7), (5,)),
    (nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    (nn.Conv1d(4, 6, 3, padding=1), (4, 9)),
    (nn.Conv1d(4, 6, 5, stride=2, dilation=2, padding=4), (3, 4, 21)),
    (nn.Conv1d(4, 6, 4, padding="same"), (3, 4, 11)),
    (nn.Conv1d(6, 4, 3, groups=2), (3, 6, 8)),
    (nn.Conv1d(6, 6, 3, groups=6, bias=False), (3, 6, 8)),
    (nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 3, 7, 6)),
    (nn.Conv2d(3, 5, 3, padding_mode="circular", padding=1), (2, 3, 7, 6)),
    (nn.Conv3d(2, 3, (1, 2, 3), dilation=(1, 2, 1)), (2, 2, 3, 5, 6)),
    (nn.ConvTranspose1d(4, 3, 5, stride=2, padding=1), (2, 4, 6)),
    (nn.ConvTranspose1d(4, 6, 3, groups=2), (2, 4, 6)),
    (nn.ConvTranspose2d(4, 3, (2, 3), stride=(2, 1), dilation=(1, 2)), (2, 4, 5, 6)),
]


class Watch(TorchFunctionMode):
    """The uses of one parameter."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.parameters, self.uses = Parameters({"weight": weight}), list[tuple[LinearUse, Layout]]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for use in linear_uses(func, args, kwargs or {}):
            found = self.parameters.find(use.weight)
            layout = None if found is None else arrange(found, use.weight.shape, use.roles)
            if layout is not None:
                self.uses.append((use, layout))
        return out


def check(call: Callable[[], Tensor], weight: Tensor, parts: int = 1, uses: int = 1) -> None:
    """The sum over rows of output gradients times inputs is the gradient of the weight, part by part."""
    with Watch(weight) as watch:
        out = call()
    assert len(watch.uses) == uses
    gradient = torch.randn_like(out)
    (wanted,) = torch.autograd.grad(out, weight, gradient)
    use, layout = watch.uses[0]
    assert layout.parts == parts
    axes = (layout.row_axes, layout.column_axes)[:: 1 if layout.swapped else -1]
    x, g = (
        torch.cat(list(use.rows(one, layout.part_axes, inputs=given)(values)))
        for one, given, values in zip(axes, (True, False), (use.x, gradient), strict=True)
    )
    if use.spread is not None and layout.swapped:
        g = torch.cat(list(use.spread.patches(gradient)))
    elif use.spread is not None:
        x = torch.cat(list(use.spread.patches(use.x)))
    if x.ndim == 2 and len(x) != len(g):  # groups: rows of a group belong to its own channels
        many, one = (x, g) if len(x) > len(g) else (g, x)
        groups = len(many) // len(one)
        many = many.unflatten(0, (len(use.x), groups, -1)).transpose(0, 1).flatten(1, 2)
        one = one.unflatten(-1, (groups, -1)).transpose(0, 1)
        found = torch.cat([a.T @ b for a, b in zip(one, many, strict=True)])
    else:
        rows, columns = (x, g) if layout.swapped else (g, x)
        found = rows.transpose(-1, -2) @ columns
    matrix = wanted.reshape(layout.parts, layout.rows, layout.columns)[layout.part, layout.row, layout.column]
    assert torch.allclose(found.reshape(matrix.shape), matrix, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("module", "shape"), MODULES, ids=lambda value: str(value)[:60])
def test_uses_by_linear_maps_and_convolutions(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Linear maps and convolutions of every kind."""
    x, weight = torch.randn(shape), module.weight
    assert isinstance(weight, Tensor)
    check(lambda: module(x), weight)


def test_uses_by_every_function_that_multiplies() -> None:
    """Weights kept as (inputs, outputs), by every function that multiplies, and weights on the left."""
    x, weight, bias = torch.randn(3, 5), nn.Parameter(torch.randn(5, 7)), torch.zeros(7)
    for call in (
        lambda: x @ weight,
        lambda: torch.randn(2, 3, 5).matmul(weight),
        lambda: torch.mm(x, weight),
        lambda: torch.addmm(bias, x, weight),
        lambda: x[0] @ weight,
        lambda: torch.tensordot(x, weight, dims=1),
        lambda: torch.tensordot(x, weight, dims=([1], [0])),
        lambda: weight @ torch.randn(7, 4),
        lambda: weight @ torch.randn(7),
        lambda: torch.mv(weight, torch.randn(7)),
        lambda: F.linear(x, weight.T),
        lambda: x @ weight[:, 2:5],
        lambda: x[:, 1:3] @ weight[1:3],
        lambda: F.linear(torch.randn(4, 7), weight[1:4]),
        lambda: F.linear(x, weight[:, 2:5].T),
    ):
        check(call, weight)


def test_odd_shapes() -> None:
    """One row or one column."""
    for shape in ((6, 1), (1, 6)):
        weight = nn.Parameter(torch.randn(shape))
        check(lambda w=weight: F.linear(torch.randn(4, w.size(1)), w), weight)  # type: ignore[misc]
        check(lambda w=weight: torch.randn(4, w.size(0)) @ w, weight)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("equation", "shape", "x", "parts"),
    [
        ("btd,df->btf", (5, 7), (2, 3, 5), 1),
        ("fd,bdt->bft", (7, 5), (2, 5, 3), 1),
        ("btd,hkd->bthk", (2, 4, 5), (2, 3, 5), 1),
        ("btd,dhk->bhtk", (5, 2, 4), (2, 3, 5), 1),
        ("bthk,hkd->btd", (2, 4, 5), (2, 3, 2, 4), 1),
        ("bthk,dhk->btd", (5, 2, 4), (2, 3, 2, 4), 1),
        ("btd,hdk->bthk", (2, 5, 4), (2, 3, 5), 2),  # heads outermost: each has outputs of its own
        ("bthk,hdk->btd", (2, 5, 4), (2, 3, 2, 4), 2),
        ("ebd,edf->ebf", (3, 5, 7), (3, 4, 5), 3),
        ("ebd,efd->ebf", (3, 7, 5), (3, 4, 5), 3),
        ("...d,df", (5, 7), (2, 3, 5), 1),
        ("b...d,fd->b...f", (7, 5), (2, 3, 5), 1),
    ],
)
def test_uses_by_einsum(equation: str, shape: tuple[int, ...], x: tuple[int, ...], parts: int) -> None:
    """Whatever the letters, on either side; axes that both have are parts."""
    weight, given = nn.Parameter(torch.randn(shape)), torch.randn(x)
    first = len(equation.split("->")[0].split(",")[0].replace("...", "xx"[: len(x) - 1])) == len(shape)
    weight_first = first and equation.startswith(("fd,",))
    check(lambda: torch.einsum(equation, *((weight, given) if weight_first else (given, weight))), weight, parts)


def test_uses_of_experts_in_one_tensor() -> None:
    """Experts in one tensor: stacks multiplied at once, from either side, one by one, some of them."""
    weight, bias = nn.Parameter(torch.randn(3, 5, 7)), torch.zeros(3, 1, 1)
    check(lambda: torch.bmm(torch.randn(3, 4, 5), weight), weight, 3)
    check(lambda: torch.bmm(weight, torch.randn(3, 7, 4)), weight, 3)
    check(lambda: torch.baddbmm(bias, torch.randn(3, 4, 5), weight), weight, 3)
    check(lambda: torch.randn(2, 3, 4, 5) @ weight, weight, 3)
    check(lambda: torch.bmm(torch.randn(3, 4, 7), weight.transpose(1, 2)), weight, 3)
    check(lambda: F.linear(torch.randn(4, 7), weight[1]), weight, 3)
    check(lambda: torch.randn(4, 5) @ weight[torch.tensor(2)], weight, 3)
    check(lambda: torch.bmm(torch.randn(2, 4, 5), weight[1:]), weight, 3)


def test_other_calls_are_none() -> None:
    """What is no linear map of one weight, or of one in an order that is no block of it."""
    x, weight = torch.randn(3, 5), nn.Parameter(torch.randn(4, 5, 6))
    assert not list(linear_uses(torch.relu, (x,), {}))
    for call in (
        lambda: torch.einsum("bd,ddf->bf", x, torch.randn(5, 5, 2) + 0 * weight.sum()),  # a diagonal
        lambda: torch.einsum("bd,hdf->b", x, weight),  # summed over
        lambda: torch.einsum("bhf,hdf->bd", torch.randn(2, 4, 6), weight.expand(4, 5, 6)[:, ::2]),
        lambda: x @ torch.relu(weight.sum(dim=0)),
        lambda: weight[:1] @ torch.randn(3, 6, 2),  # one matrix for all of a stack
    ):
        with Watch(weight) as watch:
            call()
        assert not watch.uses
