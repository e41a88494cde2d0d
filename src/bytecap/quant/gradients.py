"""What a backward pass leaves in the parameters: the sensitivity of the loss to an error in each, however it is used.

In:   parameters with gradients of a loss summed over positions.
Out:  means of their squares, and for weights of two axes or more the best diagonal curvature of rank one.

Letters: O rows (outputs), I columns (inputs) of a weight.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from bytecap.quant.allocation import Shape
from bytecap.quant.statistics import Curvature, Floats

MIN_MATRIX = 1024
"""Elements from which on a weight that is used in other ways has a curvature from its own gradients."""


class Gradients:
    """Sums over batches of each parameter's mean squared gradient.

    Labels of different positions are drawn apart, so the square of a sum of gradients is the sum of their squares.
    """

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        self.parameters, self.batches = parameters, 0
        self.squares, self.fisher = dict.fromkeys(parameters, 0.0), dict.fromkeys(parameters, 0.0)
        """Squared gradients of the mean over positions, as published rules take it; Fisher information of one."""
        views = {n: Shape(n, "", tuple(p.shape)).matrix for n, p in parameters.items() if p.ndim > 1}
        self.sides = {
            n: (torch.zeros(view[0], device=parameters[n].device), torch.zeros(view[1], device=parameters[n].device))
            for n, view in views.items() if parameters[n].numel() >= MIN_MATRIX and min(view) > 1
        }  # fmt: skip
        """Sums over the columns and over the rows of the Fisher information of weights, as matrices."""

    def add(self, positions: int) -> None:
        """Add the gradients that a backward pass has left."""
        self.batches += 1
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                gradient = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
                self.squares[name] += float((gradient / positions).square().mean())
                fisher = (gradient.float() / math.sqrt(positions)).square()
                self.fisher[name] += float(fisher.mean())
                if name in self.sides:
                    for axis, side in enumerate(self.sides[name]):
                        side += fisher.reshape([len(one) for one in self.sides[name]]).sum(dim=1 - axis)

    def diagonals(self) -> dict[str, Curvature]:
        """The best curvature of rank one for each weight's own elements."""
        found = {}
        for name, (rows_O, columns_I) in self.sides.items():
            whole = float(columns_I.sum())
            if whole > 0:
                inputs, outputs = _to_array(columns_I / whole), _to_array(rows_O / self.batches)
                square = self.squares[name] / self.batches
                found[name] = Curvature(inputs_II=inputs, outputs=outputs, gradient_square=square)
        return found


def _to_array(value: torch.Tensor) -> Floats:
    found: Floats = value.cpu().float().contiguous().numpy()
    return found
