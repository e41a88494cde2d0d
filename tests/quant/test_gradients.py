"""Sums of squared gradients, and the diagonal of rank one that stands for a weight used in any way."""

import numpy as np
import torch
from torch import nn

from bytecap.quant.gradients import MIN_MATRIX, Gradients


def test_the_diagonal_has_the_sums_of_the_squares() -> None:
    """Rows and columns of the mean squared gradients, of a tensor of three axes as the most nearly square matrix."""
    torch.manual_seed(0)
    weight, small = nn.Parameter(torch.zeros(4, 16, 32)), nn.Parameter(torch.zeros(MIN_MATRIX // 2, 1))
    gradients, squares = Gradients({"w": weight, "small": small}), torch.zeros(64, 32)
    for positions in (5, 8):
        weight.grad, small.grad = torch.randn(4, 16, 32), torch.randn(MIN_MATRIX // 2, 1)
        gradients.add(positions)
        squares += weight.grad.reshape(64, 32).square() / positions / 2
    found = gradients.diagonals()
    assert set(found) == {"w"}
    expected = np.outer(found["w"].outputs, found["w"].inputs_II)
    assert np.allclose(expected.sum(0), squares.sum(0), rtol=1e-4)
    assert np.allclose(expected.sum(1), squares.sum(1), rtol=1e-4)


def test_a_weight_without_gradients_has_none() -> None:
    """Nothing is made up for what the loss does not reach."""
    gradients = Gradients({"w": nn.Parameter(torch.zeros(64, 32))})
    gradients.add(3)
    assert not gradients.diagonals() and gradients.squares["w"] == 0.0
