"""What a call of torch does with a weight, as a linear map of rows: the weight, its inputs, its outputs.

In:   a function of torch, its arguments and what it gave.
Out:  a LinearUse where the call is a linear map of one weight, whatever the axes; else None.

Letters: N rows, I inputs, O outputs, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1 << 23
"""Numbers of patches that are put together at once."""
_LINEAR = F.linear
_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_PRODUCTS = (torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)
_SUMS = (torch.addmm, Tensor.addmm)

Rows = Callable[[Tensor], Iterator[Tensor]]
"""From a tensor, of activations or of their gradients, to rows in float32, a part at a time."""


@dataclass(frozen=True)
class LinearUse:
    """One use of a weight whose first axis is outputs (or inputs, where it is `swapped`), all other axes the others."""

    weight: Tensor
    x: Tensor
    input_rows: Rows
    output_rows: Rows
    swapped: bool = False
    patches: bool = False
    """Columns are patches, which can be very many."""


def linear_use(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> LinearUse | None:
    """The use that a call makes of its weight; None for calls of any other kind."""
    if func is _LINEAR:
        x, weight = _named(args, kwargs, "input", "weight")
        return LinearUse(weight, x, _rows(-1), _rows(-1))
    if func in _CONVOLUTIONS or func in _TRANSPOSED:
        return _convolution(args, kwargs, transposed=func in _TRANSPOSED)
    if func in _PRODUCTS or func in _SUMS:
        factors = args[1:3] if func in _SUMS else args[:2]
        if len(factors) == 2 and all(isinstance(one, Tensor) for one in factors) and factors[1].ndim == 2:
            return LinearUse(factors[1], factors[0], _rows(-1), _rows(-1), swapped=True)
    return None


def _named(args: Sequence[Any], kwargs: dict[str, Any], *names: str) -> list[Any]:
    return [args[i] if i < len(args) else kwargs.get(name) for i, name in enumerate(names)]


def _rows(channel: int) -> Rows:
    """(N, C) of a tensor with its channels at this axis."""

    def rows(values: Tensor) -> Iterator[Tensor]:
        yield values.detach().movedim(channel, -1).reshape(-1, values.size(channel)).float()

    return rows


def _convolution(args: Sequence[Any], kwargs: dict[str, Any], *, transposed: bool) -> LinearUse | None:
    names = ("input", "weight", "bias", "stride", "padding")
    x, weight, _, stride, padding = _named(args, kwargs, *names)
    behind = ("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")
    rest = dict(zip(behind, _named(args[5:], kwargs, *behind), strict=True))
    places, groups = weight.ndim - 2, rest["groups"] or 1
    if x.ndim != weight.ndim or (transposed and groups > 1):
        return None
    spread = _Spread(
        tuple(weight.shape[2:]), _each(stride, places, 1), _each(rest["dilation"], places, 1), groups,
        padding if isinstance(padding, str) else _each(padding, places, 0),
    )  # fmt: skip
    if transposed:  # outputs are spread over patches as inputs are gathered from them
        return LinearUse(weight, x, _rows(1), spread.patches, swapped=True, patches=True)
    return LinearUse(weight, x, spread.patches, _rows(1), patches=True)


def _each(value: Any, places: int, missing: int) -> tuple[int, ...]:
    value = missing if value is None else value
    return (value,) * places if isinstance(value, int) else tuple(value) * (places if len(value) == 1 else 1)


@dataclass(frozen=True)
class _Spread:
    """How a kernel lies on its input."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding: tuple[int, ...] | str

    def patches(self, x: Tensor) -> Iterator[Tensor]:
        """(N, C / groups · places): what the kernel reads at each of its places, groups as rows; some samples at once.

        The channels of a group come first, then the places row by row, as in the weight.
        """
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
