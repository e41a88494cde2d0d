"""What a layout of quantized weights is: code that turns the few tensors in which one weight is kept into its numbers.

A layout is one file in this folder with one subclass of Layout; nothing lists it (docs/extending.md).

In:   the tensors of one weight by the ends of their names, what config.json says of the quantization.
Out:  a tensor of float32.

Shape letters: O outputs, I inputs, G groups, N numbers of any shape, W words.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from bytecap.core.errors import DataError

FLOATS8 = (torch.float8_e4m3fn, torch.float8_e5m2)
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""The numbers of a float of 4 bits without their sign, which is the highest bit."""


@dataclass(frozen=True)
class WeightParts:
    """The tensors of one weight."""

    stem: str
    """What their names begin with."""
    tensors: Mapping[str, Tensor]
    """By the ends of their names."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """`quantization_config` of config.json; empty where there is none."""

    def __getitem__(self, end: str) -> Tensor:
        return self.tensors[end]

    def get(self, end: str) -> Tensor | None:
        """A tensor that not every weight has."""
        return self.tensors.get(end)

    def check(self, fits: bool, what: str) -> None:
        """Raise DataError where `fits` is not true; `what` says what does not fit."""
        if not fits:
            shapes = ", ".join(f"{end} {value.dtype} {tuple(value.shape)}" for end, value in self.tensors.items())
            raise DataError(
                f"the quantized weight {self.stem} cannot be read: {what} ({shapes}); get the file again, or write it "
                "at 16 bits with the library that made it",
                tensor=self.stem,
            )


class Layout(ABC):
    """Base of all layouts."""

    title: ClassVar[str]
    """What the layout is called in messages."""
    ends: ClassVar[tuple[str, ...]]
    """Ends of the names of the tensors that every weight has; what stands before them is its stem."""
    others: ClassVar[tuple[str, ...]] = ()
    """Ends of names that a weight may have too, and that say nothing without it."""
    result: ClassVar[str] = ".weight"
    """What the stem gets to be the name of the weight."""

    @abstractmethod
    def recognizes(self, parts: WeightParts) -> bool:
        """Return whether tensors of such names are of this layout, by their types and shapes."""

    @abstractmethod
    def numbers(self, parts: WeightParts) -> Tensor:
        """The weight in float32; DataError where its tensors do not belong together."""


def unpack(words_NW: Tensor, bits: int) -> Tensor:
    """Integers of `bits` bits (N, W * 32 // bits) from 32-bit words, the lowest bits first, across words too.

    >>> unpack(torch.tensor([[0x21, 0x43]], dtype=torch.int32), 16).tolist()
    [[33, 0, 67, 0]]
    """
    wide_NW = words_NW.long() & 0xFFFFFFFF
    first_M = torch.arange(words_NW.size(-1) * 32 // bits) * bits
    word_M, shift_M = first_M // 32, first_M % 32
    next_M = (word_M + 1).clamp(max=words_NW.size(-1) - 1)
    low_NM = wide_NW[..., word_M] >> shift_M
    return (low_NM | (wide_NW[..., next_M] << (32 - shift_M))) & ((1 << bits) - 1)


def nibbles(bytes_N: Tensor, *, low_first: bool) -> Tensor:
    """The two numbers of 4 bits in each byte, along the last axis, which doubles."""
    low_N, high_N = (bytes_N & 15).long(), (bytes_N >> 4).long()
    return torch.stack([low_N, high_N] if low_first else [high_N, low_N], dim=-1).flatten(-2)


def floats_of_4_bits(bytes_N: Tensor) -> Tensor:
    """The E2M1 numbers in bytes, the low half first."""
    value_K = torch.tensor([*E2M1, *(-value for value in E2M1)])
    return value_K[nibbles(bytes_N, low_first=True)]


def spread(scale: Tensor, shape: torch.Size, parts: WeightParts) -> Tensor:
    """Scales as float32 that multiply a matrix (O, I): one for all, for each row, for groups of columns, or blocks."""
    found = scale.float()
    if found.numel() == 1:
        return found.reshape(())
    if found.ndim == 1 and found.numel() == shape[0]:
        found = found[:, None]
    parts.check(found.ndim == len(shape) == 2, "its scales have other axes")
    for axis, size in enumerate(shape):
        count = found.size(axis)
        block = block_size(parts.config, axis, size, count)
        parts.check(0 < count <= size and math.ceil(size / block) == count, "its scales are too many or too few")
        found = found.repeat_interleave(block, dim=axis).narrow(axis, 0, size)
    return found


def block_size(config: Mapping[str, Any], axis: int, size: int, count: int) -> int:
    """How many numbers along an axis share a scale: as the config says, else the least that does for `count`."""
    said = config.get("weight_block_size")
    if count not in (1, size) and isinstance(said, list) and len(said) == 2 and type(said[axis]) is int and said[axis]:
        return int(said[axis])
    return math.ceil(size / max(count, 1))
