"""Packing by the published definitions, one bit or one number at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bytecap.convert.layouts.base import E2M1, Layout, WeightParts

random = np.random.default_rng(0)


def words(values: list[int], bits: int) -> list[int]:
    """Integers one behind the other in words of 32 bits, bit by bit, the lowest first."""
    stream = [(value >> place) & 1 for value in values for place in range(bits)]
    stream += [0] * (-len(stream) % 32)
    found = [sum(bit << place for place, bit in enumerate(stream[at : at + 32])) for at in range(0, len(stream), 32)]
    return [word - (1 << 32) if word >> 31 else word for word in found]


def integers(low: int, high: int, *shape: int) -> Tensor:
    """Random ones, both ends included."""
    return torch.from_numpy(random.integers(low, high + 1, shape))


def scales(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
    """Random positive ones, of a type."""
    return torch.from_numpy(random.uniform(0.01, 0.1, shape)).to(dtype)


def e2m1(code: int) -> float:
    """The number of four bits: sign, two of the exponent, one of the fraction."""
    exponent, fraction = (code >> 1) & 3, code & 1
    size = fraction / 2 if exponent == 0 else (1 + fraction / 2) * 2.0 ** (exponent - 1)
    return -size if code & 8 else size


def read(layout: type[Layout], tensors: dict[str, Tensor], **config: object) -> Tensor:
    """The numbers of one weight, which the layout must recognize."""
    parts = WeightParts("w", tensors, config)
    assert layout().recognizes(parts)
    assert {*layout.ends} <= {*tensors} <= {*layout.ends, *layout.others}
    return layout().numbers(parts)


def test_e2m1() -> None:
    """The table is the definition."""
    assert [e2m1(code) for code in range(8)] == list(E2M1)
