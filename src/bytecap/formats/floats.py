"""Tensors of any shape stored as they are, at 16 or 32 bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bytecap.formats.base import CodedSections, Parts, Plain, StoredFormat, StoredTensor, TensorEntry, read_floats

if TYPE_CHECKING:
    from bytecap.formats.plan import TensorPlan

FLOAT16, FLOAT32 = "float16", "float32"


@dataclass(frozen=True)
class FloatTensor:
    """A tensor of any shape at 16 or 32 bits."""

    role: str
    values: npt.NDArray[np.float16] | npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.values.shape

    def weights(self) -> npt.NDArray[np.float32]:
        """The values at 32 bits."""
        return self.values.astype(np.float32)


class FloatFormat(StoredFormat[FloatTensor]):
    """Numbers as they are.

    Any axes; the detail is the bits of a number, 16 in `float16` and 32 in `float32`. The weights are the numbers of
    the plain section named as the format, row by row; all finite.
    """

    stored_class = FloatTensor

    def __init__(self, bits: int) -> None:
        self._bits, self.name = bits, f"float{bits}"
        self._section, self._kind = Plain(self.name, bits // 8), f"<f{bits // 8}"

    def stores(self, tensor: StoredTensor) -> bool:
        """Tell apart by the type of the values."""
        return isinstance(tensor, FloatTensor) and 8 * tensor.values.itemsize == self._bits

    def detail(self, tensor: FloatTensor) -> int:
        """Bits of a number."""
        return self._bits

    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """Any shape."""
        return detail == self._bits

    def describe(self, tensor: FloatTensor) -> str:
        """The name says it all."""
        return self.name

    def nearest(self, plan: TensorPlan, weight: npt.NDArray[np.float32]) -> FloatTensor:
        """At 16 bits, unless a value is beyond them."""
        return to_float16(plan.role, weight) if self._bits == 16 else FloatTensor(plan.role, weight.astype(np.float32))

    def plain_sizes(self, entry: TensorEntry) -> dict[Plain, int]:
        """The values alone."""
        return {self._section: math.prod(entry.shape) * self._bits // 8}

    def plain_parts(self, tensor: FloatTensor) -> dict[Plain, bytes]:
        """The values alone."""
        return {self._section: tensor.values.astype(self._kind).tobytes()}

    def read(self, entries: Sequence[TensorEntry], parts: Sequence[Parts], coded: CodedSections) -> list[FloatTensor]:
        """Refuse what is not finite."""
        return [
            FloatTensor(entry.role, read_floats(entry, part[self._section], self._kind).reshape(entry.shape))
            for entry, part in zip(entries, parts, strict=True)
        ]


def to_float16(role: str, weight: npt.NDArray[np.float32]) -> FloatTensor:
    """At 16 bits, or at 32 where a value is beyond 65,504."""
    with np.errstate(over="ignore"):  # looked for right below
        values = weight.astype(np.float16)
    return FloatTensor(role, values if np.isfinite(values).all() else weight.astype(np.float32))


FORMATS = FloatFormat(16), FloatFormat(32)
