"""Muon equals a slow version, matrix by matrix, and PyTorch's own orthogonalisation."""

import pytest
import torch
from torch import Tensor

from bytecap.core.products import batched_product
from bytecap.train.muon import Muon, Polynomials, coefficients, orthogonalize

POLYNOMIALS: tuple[Polynomials, ...] = ("quintic", "polar_express")


def slow_orthogonalize(gradient_OI: Tensor, steps: int, polynomials: Polynomials = "quintic") -> Tensor:
    """Apply the odd polynomials to the singular values, found by an exact decomposition."""
    left, values, right = torch.linalg.svd(gradient_OI.double(), full_matrices=False)
    values = values / values.square().sum().sqrt()
    for a, b, c in coefficients(polynomials, steps):
        values = a * values + b * values**3 + c * values**5
    return left @ torch.diag(values) @ right


@pytest.mark.parametrize("polynomials", POLYNOMIALS)
@pytest.mark.parametrize("steps", [1, 5, 7])
@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24), (8, 12), (1, 9), (130, 130), (129, 300)])
def test_singular_values_follow_the_polynomial(shape: tuple[int, int], steps: int, polynomials: Polynomials) -> None:
    """Tall, wide and square, in one batch of three; large enough to be multiplied one by one."""
    torch.manual_seed(0)
    batch = torch.randn(3, *shape)
    found = orthogonalize(batch, steps, polynomials)
    for one, expected in zip(found, batch, strict=True):
        slow = slow_orthogonalize(expected, steps, polynomials)
        torch.testing.assert_close(one.double(), slow, atol=5e-5, rtol=1e-3)


def test_polar_express_comes_nearer_to_one() -> None:
    """Five steps on singular values from 0.01 to 1: the farthest is nearer to 1 than after the one polynomial."""
    values = torch.logspace(-2, 0, 60, dtype=torch.float64)
    found = {}
    for polynomials in POLYNOMIALS:
        after = values.clone()
        for a, b, c in coefficients(polynomials, 5):
            after = a * after + b * after**3 + c * after**5
        found[polynomials] = float((after - 1).abs().max())
    assert found["polar_express"] < 0.2 < found["quintic"]
    assert len(coefficients("polar_express", 9)) == 9 and len(coefficients("polar_express", 3)) == 3


def test_polar_express_against_torchs_own_muon_of_one_step() -> None:
    """PyTorch's Muon takes one (a, b, c); with one step and the first polynomial it makes the same update."""
    torch.manual_seed(3)
    ours, theirs = torch.nn.Parameter(torch.zeros(12, 12)), torch.nn.Parameter(torch.zeros(12, 12))
    ours.grad = torch.randn(12, 12)
    theirs.grad = ours.grad.clone()
    first = coefficients("polar_express", 1)[0]
    Muon([ours], lr=1.0, momentum=0.9, weight_decay=0.0, steps=1, polynomials="polar_express").step()
    torch.optim.Muon([theirs], lr=1.0, momentum=0.9, weight_decay=0.0, ns_steps=1, ns_coefficients=first).step()
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0.03)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this version of PyTorch has no Muon")
@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24)])
def test_near_torchs_own_muon(shape: tuple[int, int]) -> None:
    """Three steps of plain Muon with the same settings.

    PyTorch iterates in bfloat16, hence the tolerance. Both average gradients into the momentum (lerp), look ahead by
    Nesterov's rule, decay before the update and scale a tall matrix by √(O / I). Where the contest's script adds
    gradients up instead, only the length of the momentum differs, which the orthogonalisation takes out.
    """
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


@pytest.mark.parametrize("polynomials", POLYNOMIALS)
@pytest.mark.parametrize(("row_normalized", "after"), [(False, False), (True, False), (False, True)])
def test_steps_equal_the_slow_optimizer(row_normalized: bool, after: bool, polynomials: Polynomials) -> None:
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
        polynomials=polynomials,
    )
    for _ in range(4):
        for i, parameter in enumerate(parameters):
            parameter.grad = torch.randn_like(parameter)
            gradient = parameter.grad.double()
            buffers[i] = 0.9 * buffers[i] + gradient
            ahead = gradient + 0.9 * buffers[i]
            if row_normalized:
                ahead = torch.stack([row / row.square().sum().sqrt() for row in ahead])
            update = slow_orthogonalize(ahead, 5, polynomials)
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


def test_a_batch_multiplied_one_by_one_is_the_same_product() -> None:
    """Matrices of 128 rows and columns or more, and smaller ones."""
    for size in (5, 129):
        left, right = torch.randn(3, size, size + 1), torch.randn(3, size + 1, size)
        torch.testing.assert_close(batched_product(left, right), left @ right, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(batched_product(left, left.mT), left @ left.mT, atol=1e-4, rtol=1e-4)
