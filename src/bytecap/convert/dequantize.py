"""Weights that are quantized already to the numbers that they stand for, whatever layout they are kept in.

In:   a flat table of tensors, what config.json says of the quantization.
Out:  a table in which each such weight is one tensor of float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from bytecap.convert.layouts import known_layouts
from bytecap.convert.layouts.base import Layout, WeightParts
from bytecap.core.errors import DataError


def dequantize(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, int]]:
    """The table without integers, and how many weights of each layout it had.

    Layouts with more tensors for a weight are asked first. DataError where the tensors of a weight do not fit, or where
    two would have one name.
    """
    left, counts = dict(tensors), Counter[str]()
    for layout in sorted(known_layouts(), key=lambda layout: -len(layout.ends)):
        for parts in list(_find(layout, left, config)):
            for end in parts.tensors:
                del left[parts.stem + end]
            name = parts.stem + layout.result
            if name in left:
                raise DataError(f"the file holds {name} beside the parts of a quantized one; get it again", tensor=name)
            left[name] = layout.numbers(parts)
            counts[layout.title] += 1
    for name, value in left.items():
        if value.is_quantized:
            left[name] = value.dequantize()
            counts["PyTorch's quantized tensors"] += 1
    return left, dict(counts)


def quantized_layouts(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Titles of the layouts that a table has weights of, each with one of those."""
    return {layout.title: parts.stem for layout in known_layouts() for parts in _find(layout, tensors, {})}


def refuse_lone_parts(tensors: Mapping[str, Tensor]) -> None:
    """Raise DataError for the integers of a quantized weight whose scales or zero points are not in the table."""
    for name, value in sorted(tensors.items()):
        of = {layout.title: layout.ends for layout in known_layouts() if _is_integers_of(layout, name, value)}
        if of:
            ends = next(iter(of.values()))
            stem = name.removesuffix(ends[0])
            lacking = " and ".join(stem + end for end in ends[1:] if stem + end not in tensors)
            fault = f"there is no {lacking} beside it" if lacking else "its parts do not fit each other"
            raise DataError(
                f"{name} is a part of a quantized weight ({' or '.join(of)}), and {fault}; get all files of the "
                "checkpoint, or the original at 16 or 32 bits",
                tensor=name,
            )


def _is_integers_of(layout: Layout, name: str, value: Tensor) -> bool:
    """Tell whether a tensor is called as only the integers of a layout are."""
    first = layout.ends[0]
    whole = not value.is_floating_point() and value.ndim > 1
    return whole and first not in ("", ".weight") and name.endswith(first)


def _find(layout: Layout, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Iterator[WeightParts]:
    """The weights of one layout."""
    last = layout.ends[-1]
    for name in sorted(tensors):
        stem = name.removesuffix(last)
        if not name.endswith(last) or not all(stem + end in tensors for end in layout.ends):
            continue
        ends = (*layout.ends, *(end for end in layout.others if stem + end in tensors))
        parts = WeightParts(stem, {end: tensors[stem + end] for end in ends}, config)
        if layout.recognizes(parts):
            yield parts
