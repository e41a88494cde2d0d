"""The curvature of a weight in parts, such as experts: each its own, pulled towards that of all by how little it saw.

In:   sums over what was routed to each part.
Out:  a Curvature with parts.

Letters: E parts, R rows and C columns of each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bytecap.quant.statistics import Curvature
from bytecap.quant.sums import Sums, whole

PSEUDO_POSITIONS = 4.0
"""Positions that what is known of all parts counts for in each: a part that was never chosen has their curvature, as if
it were chosen so often."""


def curvature_of_parts(sums: Sums, positions: int, square: float) -> Curvature:
    """A and G of each part; of all together the mean of A by the loss that a part carries, and G's diagonal."""
    seen_E = sums.seen
    columns_E, rows_E = (_pulled(_wholes(one), seen_E) for one in (sums.columns, sums.rows))
    known_E = seen_E + PSEUDO_POSITIONS
    columns = columns_E / known_E.reshape(-1, *[1] * (columns_E.ndim - 1))
    rows = rows_E / positions
    sizes_E, stakes_E = _diagonals(columns).mean(dim=1), _diagonals(rows).sum(dim=1)
    weight_E = sizes_E * stakes_E / (sizes_E * stakes_E).sum().clamp_min(1e-38)
    inputs = torch.tensordot(weight_E / sizes_E.clamp_min(1e-38), columns, dims=1) * (sizes_E * weight_E).sum()
    outputs = _diagonals(rows) * (sizes_E / _mean_diagonal(inputs))[:, None]
    parts = tuple(
        Curvature(inputs_II=_array(a), outputs=_array(g), gradient_square=square)
        for a, g in zip(columns, rows, strict=True)
    )
    return Curvature(
        inputs_II=_array(inputs), outputs=_array(outputs.flatten()), gradient_square=square, parts=parts
    )  # fmt: skip


def _wholes(sums: Tensor) -> Tensor:
    return sums if sums.ndim == 2 else torch.stack([whole(one) for one in sums])


def _pulled(sums: Tensor, seen_E: Tensor) -> Tensor:
    """Sums with as much of the mean over all positions as `PSEUDO_POSITIONS` give."""
    return sums + PSEUDO_POSITIONS * sums.sum(dim=0) / seen_E.sum()


def _diagonals(sums: Tensor) -> Tensor:
    """(E, C)."""
    return sums.diagonal(dim1=1, dim2=2) if sums.ndim == 3 else sums


def _mean_diagonal(inputs: Tensor) -> Tensor:
    """The mean of a diagonal."""
    return (inputs.diagonal() if inputs.ndim == 2 else inputs).mean().clamp_min(1e-38)


def _array(value: Tensor) -> Any:
    return value.cpu().float().contiguous().numpy()
