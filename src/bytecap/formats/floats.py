"""Tensors of any shape stored as they are, at 16 or 32 bits, or at 16 bits times a power of two."""

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

FLOAT16, FLOAT32, SCALED_FLOAT16 = "float16", "float32", "scaled_float16"
MIN_EXPONENT, MAX_EXPONENT = -120, 100
"""Bounds of the power of two: all products are exact in float32, and none is near its end."""
MAX_RELATIVE_ERROR = 1e-3
"""Largest error of a number, relative to itself, where it is stored at 16 bits."""
_LARGEST_EXPONENT = 15
"""Exponent of the largest numbers that float16 holds."""


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

    def nearest(self, plan: TensorPlan, weight: npt.NDArray[np.float32]) -> StoredTensor:
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


@dataclass(frozen=True)
class ScaledFloatTensor:
    """A tensor of any shape at 16 bits times a power of two."""

    role: str
    values: npt.NDArray[np.float16]
    exponent: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.values.shape

    def weights(self) -> npt.NDArray[np.float32]:
        """The products at 32 bits, where they are exact."""
        return np.asarray(np.ldexp(self.values.astype(np.float32), np.int32(self.exponent)), np.float32)


class ScaledFloatFormat(StoredFormat[ScaledFloatTensor]):
    """Numbers at 16 bits times one power of two.

    Any axes; the detail is an exponent e, −120 to 100. A weight is v × 2^e with v a float16, row by row; all finite.

    Plain section `scaled_float16`: the numbers v.
    """

    name = SCALED_FLOAT16
    stored_class = ScaledFloatTensor
    _section = Plain(SCALED_FLOAT16, 2)

    def detail(self, tensor: ScaledFloatTensor) -> int:
        """The exponent."""
        return tensor.exponent

    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """Any shape."""
        return MIN_EXPONENT <= detail <= MAX_EXPONENT

    def describe(self, tensor: ScaledFloatTensor) -> str:
        """The power of two."""
        return f"float16 x 2^{tensor.exponent}"

    def nearest(self, plan: TensorPlan, weight: npt.NDArray[np.float32]) -> StoredTensor:
        """The cheapest floats that keep every number, which may be plain ones."""
        return to_floats(plan.role, weight)

    def plain_sizes(self, entry: TensorEntry) -> dict[Plain, int]:
        """The values alone."""
        return {self._section: 2 * math.prod(entry.shape)}

    def plain_parts(self, tensor: ScaledFloatTensor) -> dict[Plain, bytes]:
        """The values alone."""
        return {self._section: tensor.values.astype("<f2").tobytes()}

    def read(
        self, entries: Sequence[TensorEntry], parts: Sequence[Parts], coded: CodedSections
    ) -> list[ScaledFloatTensor]:
        """Refuse what is not finite."""
        return [
            ScaledFloatTensor(
                entry.role, read_floats(entry, part[self._section], "<f2").reshape(entry.shape), entry.detail
            )
            for entry, part in zip(entries, parts, strict=True)
        ]


def to_scaled_float16(role: str, weight: npt.NDArray[np.float32]) -> ScaledFloatTensor:
    """At 16 bits times the power of two that makes the most of them."""
    largest = float(np.abs(weight).max(initial=0))
    exponent = math.frexp(largest)[1] - _LARGEST_EXPONENT if largest > 0 else 0
    exponent = min(max(exponent, MIN_EXPONENT), MAX_EXPONENT)
    return ScaledFloatTensor(role, np.asarray(np.ldexp(weight.astype(np.float64), -exponent), np.float16), exponent)


def to_floats(role: str, weight: npt.NDArray[np.float32]) -> FloatTensor | ScaledFloatTensor:
    """The cheapest floats in which each number has a relative error of at most `MAX_RELATIVE_ERROR`."""
    for stored in (to_float16(role, weight), to_scaled_float16(role, weight)):
        errors = np.abs(stored.weights().astype(np.float64) - weight)
        if (errors <= MAX_RELATIVE_ERROR * np.abs(weight)).all():
            return stored
    return FloatTensor(role, weight.astype(np.float32))


def to_float16(role: str, weight: npt.NDArray[np.float32]) -> FloatTensor:
    """At 16 bits, or at 32 where a value is beyond 65,504."""
    with np.errstate(over="ignore"):  # looked for right below
        values = np.asarray(weight, np.float16)
    return FloatTensor(role, values if np.isfinite(values).all() else weight.astype(np.float32))


FORMATS = FloatFormat(16), FloatFormat(32), ScaledFloatFormat()
