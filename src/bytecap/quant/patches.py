"""What a kernel reads at each of its places, as rows.

In:   activations (B, C, places..), and how a kernel lies on them.
Out:  patches (N, C / groups · places of the kernel).

Letters: N rows, B samples, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1 << 23
"""Numbers of patches that are put together at once."""


@dataclass(frozen=True)
class Spread:
    """How a kernel lies on its input."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding: tuple[int, ...] | str

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

    def _pads(self) -> list[int]:
        """Padding as `F.pad` takes it, the last axis first."""
        if self.padding == "valid":
            return [0] * (2 * len(self.kernel))
        if isinstance(self.padding, str):  # same: what is odd lies behind
            whole = [(size - 1) * dilation for size, dilation in zip(self.kernel, self.dilation, strict=True)]
            return [side for one in reversed(whole) for side in (one // 2, one - one // 2)]
        return [side for one in reversed(self.padding) for side in (one, one)]
