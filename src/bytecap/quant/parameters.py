"""Which parameter a tensor is, or a view, a slice, or an elementwise function of, and where in it the tensor lies.

In:   a model's parameters; a tensor that something was multiplied by, with the role of each of its axes.
Out:  the parameter's name, and the block of the parameter as a matrix, or as parts of one, that the tensor holds.

Letters: E parts, R rows and C columns of the parameter as one or E matrices; O, I roles of axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ELEMENTWISE = frozenset(
    ("Mul", "Div", "Add", "Sub", "Neg", "Clone", "ToCopy", "Alias", "View", "UnsafeView", "Tanh", "Sigmoid", "Exp",
     "Relu", "Pow", "Sqrt", "Abs", "Clamp", "Where", "MaskedFill", "WeightNormInterface")
)  # fmt: skip
"""Functions that a parameter may have gone through before it is used, by the names of their gradients."""
PROBES = 4
"""Draws of signs for the slope, which is exact where an element depends on no other."""
MAX_FUNCTIONS = 12
"""How many of them are searched."""


@dataclass(frozen=True)
class Found:
    """A tensor as part of a parameter."""

    name: str
    parameter: Tensor
    offset: int
    strides: tuple[int, ...]
    """Where the tensor's elements lie in the parameter."""
    slope: Tensor | None = None
    """The derivative of the tensor that is used by the parameter, element by element; None for the parameter itself."""


@dataclass(frozen=True)
class Layout:
    """The block of a parameter (E, R, C) that a tensor holds, and what lies where."""

    parts: int
    rows: int
    columns: int
    part: slice
    row: slice
    column: slice
    swapped: bool
    """True where rows are inputs and columns outputs."""
    part_axes: tuple[int, ...]
    row_axes: tuple[int, ...]
    column_axes: tuple[int, ...]
    """Which axes of the tensor they are, in the order of the parameter."""


class Parameters:
    """Finds parameters by identity, by what a tensor is a view of, and by what it was computed from."""

    def __init__(self, parameters: dict[str, Tensor]) -> None:
        self._by_name = parameters
        self._names = {id(parameter): name for name, parameter in parameters.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._by_name[name]

    def find(self, tensor: Tensor) -> Found | None:
        """The parameter that a tensor is, or comes from by functions of single elements."""
        base = tensor if tensor._base is None else tensor._base
        offset, strides = int(tensor.storage_offset() - base.storage_offset()), tuple(tensor.stride())
        if (name := self._names.get(id(base))) is not None:
            if tensor is base:  # in whatever order its numbers lie
                return Found(name, base, 0, _contiguous(base.shape))
            return Found(name, base, offset, strides) if base.is_contiguous() else None
        if base.grad_fn is None or not base.is_contiguous() or not base.is_floating_point():
            return None
        leaves = {id(leaf): leaf for leaf in _leaves(base.grad_fn)}
        same = [leaf for leaf in leaves.values() if leaf.shape == base.shape and id(leaf) in self._names]
        if len(same) != 1 or not same[0].is_contiguous():
            return None
        return Found(self._names[id(same[0])], same[0], offset, strides, _slope(base, same[0]))


def arrange(found: Found, sizes: torch.Size, roles: str) -> Layout | None:
    """The block that a tensor with these roles of its axes holds; None for one that is no block.

    The outermost axes become parts where their role comes back further in; and a slice of the first axis of a
    parameter with three axes or more is a part.
    """
    wide = {roles[axis] for axis, size in enumerate(sizes) if size > 1}
    narrow = [axis for axis, size in enumerate(sizes) if size == 1 and roles[axis] in wide]  # of any stride
    groups: list[list[int]] = []
    for axis in sorted((i for i in range(len(sizes)) if i not in narrow), key=lambda axis: -found.strides[axis]):
        if groups and roles[groups[-1][-1]] == roles[axis]:
            if found.strides[groups[-1][-1]] != found.strides[axis] * sizes[axis]:
                return None
            groups[-1].append(axis)
        else:
            groups.append([axis])
    for axis in narrow:
        group = next(one for one in groups if roles[one[0]] == roles[axis])
        group.insert(next((place for place, other in enumerate(group) if other > axis), len(group)), axis)
    if len(groups) not in (2, 3) or found.strides[_innermost(groups[-1], sizes)] != 1:
        return None
    before, rows, columns = ([], *groups) if len(groups) == 2 else groups
    if {roles[rows[0]], roles[columns[0]]} != {"i", "o"}:
        return None
    return _block(found, sizes, (before, rows, columns), swapped=roles[rows[0]] == "i")


def _block(
    found: Found, sizes: torch.Size, axes: tuple[list[int], list[int], list[int]], *, swapped: bool
) -> Layout | None:
    before, rows, columns = axes
    n_part, n_row, n_column = (math.prod(sizes[axis] for axis in group) for group in axes)
    numel, shape = found.parameter.numel(), tuple(found.parameter.shape)
    width = found.strides[_innermost(rows, sizes)] if n_row > 1 else n_column
    width = shape[1] if len(shape) == 2 else width
    each = found.strides[_innermost(before, sizes)] if before else numel // shape[0] if len(shape) > 2 else numel
    if not before and (width == 0 or found.offset % each // width + n_row > each // width):
        each = numel  # over several slices of the first axis
    if width == 0 or each % width or numel % each:
        return None
    part, row, column = found.offset // each, found.offset % each // width, found.offset % width
    inside = part + n_part <= numel // each and row + n_row <= each // width and column + n_column <= width
    if not inside or numel // width not in {math.prod(shape[:place]) for place in range(1, len(shape))}:
        return None
    return Layout(
        numel // each, each // width, width, slice(part, part + n_part), slice(row, row + n_row),
        slice(column, column + n_column), swapped, tuple(before), tuple(rows), tuple(columns),
    )  # fmt: skip


def _innermost(axes: list[int], sizes: torch.Size) -> int:
    """The last of these axes that is longer than 1, or the last."""
    return next((axis for axis in reversed(axes) if sizes[axis] > 1), axes[-1])


def _contiguous(shape: torch.Size) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _leaves(function: Any) -> Iterator[Tensor]:
    """The tensors at the end of a graph of functions of single elements."""
    open_, seen = [function], 0
    while open_ and seen < MAX_FUNCTIONS:
        node, seen = open_.pop(), seen + 1
        if hasattr(node, "variable"):
            yield node.variable
        elif node.name().split("Backward")[0] in ELEMENTWISE:
            open_ += [following for following, _ in node.next_functions if following is not None]


def _slope(value: Tensor, parameter: Tensor) -> Tensor:
    """The derivative of each element by the parameter's own: what random signs leave of the Jacobian's diagonal."""
    signs = torch.Generator(value.device).manual_seed(0)  # alike each time, and nobody else's random numbers
    slope = torch.zeros_like(parameter, dtype=torch.float32)
    for _ in range(PROBES):
        probe = torch.randint(0, 2, value.shape, device=value.device, generator=signs).to(value.dtype) * 2 - 1
        (found,) = torch.autograd.grad(value, parameter, probe, retain_graph=True)
        slope += (found * probe).float() / PROBES
    return slope
