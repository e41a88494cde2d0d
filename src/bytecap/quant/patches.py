"""What a kernel reads at each of its places, as rows, and the second moment of these rows.

In:   activations (B, C, places..), and how a kernel lies on them.
Out:  patches (N, C / groups · places of the kernel), or the sum of their outer products, or its diagonal.

A kernel along one axis sees the same numbers again one place further on. So its second moment is made from the first
place's products with all others: one place further everything that is read has moved, and only what leaves at the
beginning and comes in at the end makes a difference. That is exact, and P times cheaper at most for P positions.

Letters: N rows, B samples, C channels of a group, L length, K places of the kernel, P positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1 << 23
"""Elements of patches that are put together at once."""


@dataclass(frozen=True)
class Spread:
    """How a kernel lies on its input."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding: tuple[int, ...] | str
    order: tuple[int, ...] = ()
    """How the weight has the channels (0) and the places (from 1) of a patch, where it is not in this order."""

    def patches(self, x: Tensor) -> Iterator[Tensor]:
        """(N, C / groups · places): what the kernel reads at each of its places, groups as rows; some samples at once.

        The channels of a group come first, then the places row by row, as in the weight. One sample may come without
        a batch axis.
        """
        x = x if x.ndim == len(self.kernel) + 2 else x[None]
        padded = F.pad(x.detach().float(), self._pads())
        each = max(1, math.prod(padded.shape[1:]) * math.prod(self.kernel) // math.prod(self.stride))
        for part in torch.split(padded, max(1, CHUNK // each)):
            for axis, (size, stride, dilation) in enumerate(
                zip(self.kernel, self.stride, self.dilation, strict=True), 2
            ):
                part = part.unfold(axis, (size - 1) * dilation + 1, stride)[..., ::dilation]
            places = len(self.kernel)
            apart = part.reshape(
                len(part), self.groups, -1, *part.shape[2:]
            )  # (B, groups, C / groups, positions.., kernel..)
            order = (0, 1, *range(3, 3 + places), 2, *range(3 + places, 3 + 2 * places))
            yield apart.permute(order).reshape(-1, apart.size(2) * math.prod(self.kernel))

    def add_moments(self, x: Tensor, sums: Tensor) -> int:
        """Add the patches' second moment to (C·K, C·K), or its diagonal to (C·K,); the number of patches."""
        if self.order:
            found = torch.zeros_like(sums)
            count = replace(self, order=()).add_moments(x, found)
            at = torch.arange(len(sums), device=sums.device).view(-1, *self.kernel).permute(self.order).flatten()
            sums += found[at] if sums.ndim == 1 else found[at][:, at]
            return count
        if sums.ndim == 1:
            return self._add_diagonal(x, sums)
        if self._along_one_axis:
            x_BCL, stride, dilation = self._as_lines(x)
            if (moments := moments_by_shifts(x_BCL, max(self.kernel), stride, dilation)) is not None:
                sums += moments
                return len(x_BCL) * _positions(x_BCL.size(2), max(self.kernel), stride, dilation)
        count = 0
        for rows in self.patches(x):
            sums.addmm_(rows.T, rows)
            count += len(rows)
        return count

    @property
    def _along_one_axis(self) -> bool:
        return sum(size > 1 for size in self.kernel) == 1

    def _as_lines(self, x: Tensor) -> tuple[Tensor, int, int]:
        """(B, C, L) with all other axes among the samples; stride and dilation along it."""
        x = x if x.ndim == len(self.kernel) + 2 else x[None]
        padded = F.pad(x.detach().float(), self._pads())
        axis = next(i for i, size in enumerate(self.kernel) if size > 1)
        for other, stride in enumerate(self.stride):
            if other != axis:
                padded = padded[(slice(None),) * (2 + other) + (slice(None, None, stride),)]
        apart = (
            padded.reshape(len(padded), self.groups, -1, *padded.shape[2:]).movedim(2, -1).movedim(2 + axis, -1)
        )  # (B, groups, .., C, L)
        return apart.flatten(0, -3), self.stride[axis], self.dilation[axis]

    def _add_diagonal(self, x: Tensor, sums: Tensor) -> int:
        """Squares are added over samples before anything is unfolded."""
        x = x if x.ndim == len(self.kernel) + 2 else x[None]
        squares = x.detach().float().square().sum(dim=0, keepdim=True)
        count = 0
        for rows in self.patches(squares):
            sums += rows.sum(dim=0)
            count += len(rows)
        return count * len(x)

    def _pads(self) -> list[int]:
        """Padding as `F.pad` takes it, the last axis first."""
        if self.padding == "valid":
            return [0] * (2 * len(self.kernel))
        if isinstance(self.padding, str):  # same: what is odd lies behind
            whole = [(size - 1) * dilation for size, dilation in zip(self.kernel, self.dilation, strict=True)]
            return [side for one in reversed(whole) for side in (one // 2, one - one // 2)]
        return [side for one in reversed(self.padding) for side in (one, one)]


def moments_by_shifts(x_BCL: Tensor, places: int, stride: int, dilation: int) -> Tensor | None:
    """(C·K, C·K): the second moment of patches along a line, from shifts; None where that would not be cheaper."""
    samples, channels, length = x_BCL.shape
    positions, ahead = _positions(length, places, stride, dilation), stride // dilation
    cost = positions * ahead * places + 2 * (places - ahead) ** 2
    if stride % dilation or not 0 < ahead < places or 1.5 * cost > positions * places**2:
        return None
    read_BCPK = x_BCL.unfold(2, (places - 1) * dilation + 1, stride)[..., ::dilation]
    rows_NX = read_BCPK.permute(0, 2, 3, 1).reshape(samples * positions, places * channels)
    moment_KCKC = x_BCL.new_zeros(places, channels, places, channels)
    moment_KCKC[:ahead] = (rows_NX[:, : ahead * channels].T @ rows_NX).view(ahead, channels, places, channels)
    kept = (places - ahead) * channels
    changes = x_BCL.new_zeros(kept, kept)
    for begin, sign in ((0, -1.0), (positions * stride, 1.0)):  # what leaves, what comes in
        edge_BX = x_BCL[..., begin : begin + (places - ahead - 1) * dilation + 1 : dilation].transpose(1, 2).flatten(1)
        changes.addmm_(edge_BX.T, edge_BX, alpha=sign)
    changes_KCKC = changes.view(places - ahead, channels, places - ahead, channels)
    moment_KCKC[ahead:, :, :ahead] = moment_KCKC[:ahead, :, ahead:].permute(2, 3, 0, 1)
    for k in range(ahead, places):
        moment_KCKC[k, :, ahead:] = moment_KCKC[k - ahead, :, : places - ahead] + changes_KCKC[k - ahead]
    return moment_KCKC.permute(1, 0, 3, 2).reshape(channels * places, channels * places)


def _positions(length: int, places: int, stride: int, dilation: int) -> int:
    return (length - (places - 1) * dilation - 1) // stride + 1
