"""Muon equals a slow version, matrix by matrix, and PyTorch's own orthogonalisation."""

import pytest
import torch
from torch import Tensor

from bytecap.train.muon import COEFFICIENTS, Muon, orthogonalize


def slow_orthogonalize(gradient_OI: Tensor, steps: int) -> Tensor:
    """Apply the odd polynomial to the singular values, found by an exact decomposition."""
    a, b, c = COEFFICIENTS
    left, values, right = torch.linalg.svd(gradient_OI.double(), full_matrices=False)
    values = values / values.square().sum().sqrt()
    for _ in range(steps):
        values = a * values + b * values**3 + c * values**5
    return left @ torch.diag(values) @ right


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24), (8, 12), (1, 9)])
def test_singular_values_follow_the_polynomial(shape: tuple[int, int]) -> None:
    """Tall, wide and square, in one batch of three."""
    torch.manual_seed(0)
    batch = torch.randn(3, *shape)
    found = orthogonalize(batch, 5)
    for one, expected in zip(found, batch, strict=True):
        torch.testing.assert_close(one.double(), slow_orthogonalize(expected, 5), atol=2e-5, rtol=1e-4)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this version of PyTorch has no Muon")
@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24)])
def test_near_torchs_own_muon(shape: tuple[int, int]) -> None:
    """Three steps of plain Muon with the same settings; PyTorch iterates in bfloat16, hence the tolerance."""
    torch.manual_seed(4)
    start = torch.randn(shape)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    mine = Muon([ours], lr=0.1, momentum=0.9, weight_decay=0.05, steps=5)
    reference = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.05, ns_steps=5)
    for _ in range(3):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        reference.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved


@pytest.mark.parametrize(("row_normalized", "after"), [(False, False), (True, False), (False, True)])
def test_steps_equal_the_slow_optimizer(row_normalized: bool, after: bool) -> None:
    """Momentum, look-ahead, scale and decay before or after the update over several steps, matrices of two shapes."""
    torch.manual_seed(1)
    parameters = [torch.nn.Parameter(torch.randn(s)) for s in ((6, 6), (12, 6), (6, 6))]
    expected = [p.detach().double().clone() for p in parameters]
    buffers = [torch.zeros_like(e) for e in expected]
    optimizer = Muon(
        parameters,
        lr=0.1,
        momentum=0.9,
        weight_decay=0.3,
        steps=5,
        row_normalized=row_normalized,
        decay_after_update=after,
    )
    for _ in range(4):
        for i, parameter in enumerate(parameters):
            parameter.grad = torch.randn_like(parameter)
            gradient = parameter.grad.double()
            buffers[i] = 0.9 * buffers[i] + gradient
            ahead = gradient + 0.9 * buffers[i]
            if row_normalized:
                ahead = torch.stack([row / row.square().sum().sqrt() for row in ahead])
            update = slow_orthogonalize(ahead, 5)
            rows, columns = parameter.shape
            moved = 0.1 * max(1.0, rows / columns) ** 0.5 * update
            kept = 1 - 0.1 * 0.3
            expected[i] = (expected[i] - moved) * kept if after else expected[i] * kept - moved
        optimizer.step()
    for parameter, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach().double(), value, atol=1e-4, rtol=1e-4)


def test_zero_gradient_moves_nothing() -> None:
    """A matrix without gradient signal stays where it is and stays finite."""
    parameter = torch.nn.Parameter(torch.ones(4, 6))
    parameter.grad = torch.zeros(4, 6)
    Muon([parameter], lr=0.1, momentum=0.9, weight_decay=0.0, steps=5).step()
    assert torch.equal(parameter.detach(), torch.ones(4, 6))
