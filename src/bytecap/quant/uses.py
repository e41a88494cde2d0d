"""What a call of torch does with a weight, as a linear map of rows: the weight, its inputs, its outputs.

In:   a function of torch and its arguments.
Out:  a LinearUse for each of its operands that may be a weight; none for calls that are no linear map of one.

Each axis of the weight has a role: `o` for outputs, `i` for inputs, `p` for parts that have inputs and outputs of
their own, such as experts.

Letters: N rows, I inputs, O outputs, E parts, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from string import ascii_letters
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bytecap.quant.patches import Spread

_LINEAR, _EINSUM, _TENSORDOT = F.linear, torch.einsum, torch.tensordot
_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_PRODUCTS = (
    torch.matmul, torch.mm, torch.bmm, torch.mv, Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.mv, Tensor.__matmul__,
)  # fmt: skip
_SUMS = (torch.addmm, torch.baddbmm, torch.addmv, Tensor.addmm, Tensor.baddbmm, Tensor.addmv)
_GROUPED = tuple(getattr(torch, name) for name in ("_grouped_mm",) if hasattr(torch, name))

Rows = Callable[[Tensor], Iterator[Tensor]]
"""From a tensor, of activations or of their gradients, to rows in float32, a part at a time."""


@dataclass(frozen=True)
class LinearUse:
    """One use of a weight."""

    weight: Tensor
    x: Tensor
    roles: str
    """The role of each axis of the weight."""
    letters: tuple[str, str, str] = ("", "", "")
    """The axes of the inputs, of the weight and of the outputs, as an einsum has them; empty for a convolution."""
    spread: Spread | None = None
    """How its kernel lies, of a convolution: what has the role of its places are patches."""
    part_N: Tensor | None = None
    """Which part each row of inputs goes to, where they are sorted by part and the weight's first axis is parts."""

    def patches(self, axes: Sequence[int]) -> Spread | None:
        """How the patches lie that these axes of the weight are together; None where they are no patches."""
        if self.spread is None or self.roles[axes[-1]] != self.roles[-1]:
            return None
        order = tuple(axis - 1 for axis in axes)
        return self.spread if order == tuple(sorted(order)) else replace(self.spread, order=order)

    def rows(self, axes: Sequence[int], parts: Sequence[int], *, inputs: bool) -> Rows:
        """The function to rows (N, C), or (E, N, C) with parts, of the inputs or of the outputs.

        `axes` are those of the weight that are together the C columns, `parts` those that are together the E parts.
        Rows of a convolution are those of channels; patches come from `spread`.
        """
        if self.spread is not None:
            return _channels(len(self.spread.kernel))
        letters, weight = self.letters[0 if inputs else 2], self.letters[1]
        behind, before = "".join(weight[i] for i in axes), "".join(weight[i] for i in parts)
        sizes = [self.weight.size(i) for i in parts]
        width = math.prod(self.weight.size(i) for i in axes)

        def rows(values: Tensor) -> Iterator[Tensor]:
            missing = [letter for letter in before if letter not in letters]
            wide = values.detach()[(None,) * len(missing) + (...,)] if missing else values.detach()
            have = "".join(missing) + letters
            between = "".join(letter for letter in letters if letter not in before + behind)
            wide = wide.permute([have.index(letter) for letter in before + between + behind])
            if not before:
                yield wide.reshape(-1, width).float()
            else:
                wide = wide.expand(*sizes, *wide.shape[len(sizes) :])
                yield wide.reshape(math.prod(sizes), -1, width).float()

        return rows


def linear_uses(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[LinearUse]:
    """The uses that a call makes of its operands, any of which may be a weight."""
    if func is _LINEAR:
        x, weight = _named(args, kwargs, "input", "weight")
        yield from _linear(x, weight)
    elif func in _CONVOLUTIONS or func in _TRANSPOSED:
        yield from _convolution(args, kwargs, transposed=func in _TRANSPOSED)
    elif func in _PRODUCTS or func in _SUMS:
        factors = args[1:3] if func in _SUMS else args[:2]
        if len(factors) == 2 and all(isinstance(one, Tensor) for one in factors):
            yield from _products(*factors)
    elif func is _EINSUM and args and isinstance(args[0], str):
        operands = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
        if len(operands) == 2:
            yield from _einsum(args[0], *operands)
    elif func is _TENSORDOT and len(args) > 1:
        yield from _tensordot(args[0], args[1], args[2] if len(args) > 2 else kwargs.get("dims", 2))
    elif func in _GROUPED:
        yield from _grouped(args, kwargs)


def _named(args: Sequence[Any], kwargs: dict[str, Any], *names: str) -> list[Any]:
    return [args[i] if i < len(args) else kwargs.get(name) for i, name in enumerate(names)]


def _both(a: Tensor, b: Tensor, letters: tuple[str, str, str]) -> Iterator[LinearUse]:
    """Each factor of a product as the weight of the other, where every axis of one is in the other or in the result."""
    first, second, out = letters
    if any(len(set(text)) < len(text) for text in letters):
        return
    sizes = dict(zip(first, a.shape, strict=True))
    if any(sizes.get(letter, size) != size for letter, size in zip(second, b.shape, strict=True)):
        return  # a stack of one, repeated for the other
    for weight, x, of_weight, of_x in ((b, a, second, first), (a, b, first, second)):
        roles = "".join("p" if c in of_x and c in out else "i" if c in of_x else "o" for c in of_weight)
        summed = {*of_weight, *of_x} - {*out} != {*of_weight} & {*of_x} - {*out}
        if not summed and {"o", "i"} <= set(roles):
            yield LinearUse(weight, x, roles, (of_x, of_weight, out))


def _linear(x: Tensor, weight: Tensor) -> Iterator[LinearUse]:
    if weight.ndim == 2:
        rows = "abcdefghjklmn"[: x.ndim - 1]
        yield LinearUse(weight, x, "oi", (rows + "i", "oi", rows + "o"))


def _products(a: Tensor, b: Tensor) -> Iterator[LinearUse]:
    """A product of matrices, of stacks of them, or of a matrix and a vector."""
    stacks = max(a.ndim, b.ndim, 2) - 2
    batch, row, column = ascii_letters[3 : 3 + stacks], "a" * (a.ndim > 1), "c" * (b.ndim > 1)
    of_a, of_b = (batch[max(stacks - one.ndim + 2, 0) :] for one in (a, b))
    yield from _both(a, b, (of_a + row + "b", of_b + "b" + column, batch + row + column))


def _einsum(equation: str, a: Tensor, b: Tensor) -> Iterator[LinearUse]:
    left, arrow, out = equation.replace(" ", "").partition("->")
    terms, operands = left.split(","), (a, b)
    if len(terms) != 2:
        return
    free = "".join(c for c in ascii_letters if c not in equation)
    dots = [one.ndim - len(term.replace("...", "")) for term, one in zip(terms, operands, strict=True)]
    most = max(dots)
    if not arrow:
        both = left.replace("...", "").replace(",", "")
        out = "..." + "".join(sorted(c for c in set(both) if both.count(c) == 1))
    of_a, of_b = (term.replace("...", free[most - n : most]) for term, n in zip(terms, dots, strict=True))
    yield from _both(a, b, (of_a, of_b, out.replace("...", free[:most])))


def _tensordot(a: Tensor, b: Tensor, dims: Any) -> Iterator[LinearUse]:
    if isinstance(dims, Tensor):
        return
    of_a, of_b = (list(range(a.ndim - dims, a.ndim)), list(range(dims))) if isinstance(dims, int) else dims
    of_a, of_b = ([of_a], [of_b]) if isinstance(of_a, int) else (of_a, of_b)
    first, second = list(ascii_letters[: a.ndim]), list(ascii_letters[a.ndim : a.ndim + b.ndim])
    for i, j in zip(of_a, of_b, strict=True):
        second[j] = first[i]
    both = first + second
    yield from _both(a, b, ("".join(first), "".join(second), "".join(c for c in both if both.count(c) == 1)))


def _grouped(args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[LinearUse]:
    """Rows sorted by part, (N, I), a weight (E, I, O) and where each part ends."""
    x, weight = args[:2]
    ends = args[2] if len(args) > 2 else kwargs.get("offs")
    if x.ndim == 2 and weight.ndim == 3 and isinstance(ends, Tensor):
        counts = torch.diff(ends, prepend=ends.new_zeros(1)).long()
        part_N = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        yield LinearUse(weight, x[: len(part_N)], "pio", ("ni", "eio", "no"), part_N=part_N)


def _convolution(args: Sequence[Any], kwargs: dict[str, Any], *, transposed: bool) -> Iterator[LinearUse]:
    names = ("input", "weight", "bias", "stride", "padding")
    x, weight, _, stride, padding = _named(args, kwargs, *names)
    behind = ("output_padding", "groups", "dilation") if transposed else ("dilation", "groups")
    rest = dict(zip(behind, _named(args[5:], kwargs, *behind), strict=True))
    places = weight.ndim - 2
    spread = Spread(
        tuple(weight.shape[2:]), _each(stride, places, 1), _each(rest["dilation"], places, 1), rest["groups"] or 1,
        padding if isinstance(padding, str) else _each(padding, places, 0),
    )  # fmt: skip
    if transposed:  # outputs are spread over patches as inputs are gathered from them
        yield LinearUse(weight, x, "i" + "o" * (weight.ndim - 1), spread=spread)
    else:
        yield LinearUse(weight, x, "o" + "i" * (weight.ndim - 1), spread=spread)


def _channels(places: int) -> Rows:
    """(N, C) of a tensor with its channels before its places, with a batch axis or without."""

    def rows(values: Tensor) -> Iterator[Tensor]:
        channel = values.ndim - places - 1
        yield values.detach().movedim(channel, -1).reshape(-1, values.size(channel)).float()

    return rows


def _each(value: Any, places: int, missing: int) -> tuple[int, ...]:
    value = missing if value is None else value
    return (value,) * places if isinstance(value, int) else tuple(value) * (places if len(value) == 1 else 1)
