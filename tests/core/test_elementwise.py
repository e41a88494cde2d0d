"""Gradients written out equal those that autograd finds in double precision, and other tensors go PyTorch's way."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bytecap.core import elementwise
from bytecap.core.elementwise import (
    previous_rows,
    rms_norm,
    rotate_pairs,
    squared_relu,
    without_part_along,
    written_out,
)

ANGLES_TR = torch.arange(15.0).view(5, 3)
FIRST_BT = torch.tensor([[True, False, True, True, False], [True, False, False, False, False]])


def slow_norm(x: Tensor) -> Tensor:
    """By its formula, with the epsilon of float32."""
    return x / (x.square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt()


def slow_turn(x_TK: Tensor) -> Tensor:
    """Pair by pair."""
    turned = list(x_TK.unbind(-1))
    for pair, angle_T in enumerate(ANGLES_TR.to(x_TK.dtype).unbind(-1)):
        first, second = x_TK[..., pair], x_TK[..., pair + 3]
        turned[pair] = first * angle_T.cos() + second * angle_T.sin()
        turned[pair + 3] = second * angle_T.cos() - first * angle_T.sin()
    return torch.stack(turned, -1)


def slow_part(x: Tensor, direction: Tensor) -> Tensor:
    """Projection."""
    return x - (x * direction).sum(-1, keepdim=True) / direction.square().sum(-1, keepdim=True) * direction


def slow_previous(x_BTD: Tensor) -> Tensor:
    """Row by row."""
    rows = [[x_BTD[b, t - 1] * (1 - int(FIRST_BT[b, t])) for t in range(5)] for b in range(2)]
    return torch.stack([torch.stack(row) for row in rows])


CASES: list[tuple[Callable[..., Tensor], Callable[..., Tensor], list[tuple[int, ...]]]] = [
    (rms_norm, slow_norm, [(2, 5, 7)]),
    (squared_relu, lambda x: F.relu(x).square(), [(2, 5, 7)]),
    (lambda x: rotate_pairs(x, ANGLES_TR.cos(), ANGLES_TR.sin()), slow_turn, [(2, 5, 7)]),
    (lambda x: rotate_pairs(x, ANGLES_TR.cos(), ANGLES_TR.sin()), slow_turn, [(2, 5, 6)]),
    (without_part_along, slow_part, [(2, 3, 5, 4), (2, 1, 5, 4)]),
    (lambda x: previous_rows(x, FIRST_BT), slow_previous, [(2, 5, 3)]),
]


@pytest.mark.parametrize("quick, slow, shapes", CASES)
def test_values_and_gradients(
    quick: Callable[..., Tensor], slow: Callable[..., Tensor], shapes: list[tuple[int, ...]]
) -> None:
    """Against the formula in double precision; also where the gradient is a view of another order."""
    torch.manual_seed(0)
    inputs = [torch.randn(shape).requires_grad_() for shape in shapes]
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    found, expected = quick(*inputs), slow(*doubles)
    back = torch.randn(*found.shape[:-2], *found.shape[:-3:-1]).mT
    results = [found, *torch.autograd.grad(found, inputs, back)]
    wanted = [expected, *torch.autograd.grad(expected, doubles, back.double())]
    for mine, its in zip(results, wanted, strict=True):
        torch.testing.assert_close(mine.double(), its, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("quick, shapes", [(quick, shapes) for quick, _, shapes in CASES[:5]])
def test_pytorchs_own_way(
    quick: Callable[..., Tensor], shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without gradients, and where the operator of the norm is missing, values are the same."""
    inputs = [torch.randn(shape).requires_grad_() for shape in shapes]
    found = quick(*inputs)
    with torch.no_grad():
        torch.testing.assert_close(quick(*inputs), found.detach())
    monkeypatch.setattr(elementwise, "_has_norm_gradient", lambda: False)
    torch.testing.assert_close(quick(*inputs), found)


def test_a_direction_of_zero_takes_nothing_away() -> None:
    """As `F.normalize` has it."""
    x = torch.randn(2, 3)
    assert torch.equal(without_part_along(x.requires_grad_(), torch.zeros(2, 3)), x)
    assert not written_out(x.detach()) and not written_out(x.bfloat16())
