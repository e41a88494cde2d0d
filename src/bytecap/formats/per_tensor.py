"""Integers times one step for the whole tensor, of any shape, coded one after another: gains, mixes, biases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bytecap.coding.adaptive import MAX_CODED_BYTES, decode_arrays, encode_arrays
from bytecap.coding.cost import entropy_bytes
from bytecap.core.errors import FormatError
from bytecap.formats.base import (
    LARGEST,
    MAX_SYMBOL,
    CodedSections,
    Parts,
    StoredFormat,
    StoredTensor,
    TensorEntry,
    count_levels,
    read_steps,
)
from bytecap.formats.floats import to_floats
from bytecap.formats.size_estimate import SizeEstimate

if TYPE_CHECKING:
    from bytecap.formats.plan import TensorPlan

PER_TENSOR = "per_tensor"
MAX_PER_TENSOR = 1 << 20
"""Numbers of one tensor; they are coded one at a time."""
MAX_CODED_ESTIMATE = 1 << 14
"""Numbers up to which a size is found by coding them; the entropy of more is near enough."""
VECTORS = "vectors"


@dataclass(frozen=True)
class PerTensorQuantized:
    """weight = symbol * step, one step for a tensor of any shape."""

    role: str
    symbols: npt.NDArray[np.int16]
    step: float

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the integers."""
        return self.symbols.shape

    def weights(self) -> npt.NDArray[np.float32]:
        """One product of two float32 numbers each, so the result is exact to the bit."""
        return np.asarray(self.symbols.astype(np.float32) * np.float32(self.step), np.float32)


class PerTensorFormat(StoredFormat[PerTensorQuantized]):
    """One step for the whole tensor.

    Any axes, at most 2^20 numbers; the detail is 16. A weight is integer × step.

    Coded section `vectors`: a float32 step above 0 for each tensor, 32,767 times which is below 10^38; then one
    adaptive stream with an array for each tensor: its integers, −32,767 to 32,767, row by row.
    """

    name = PER_TENSOR
    stored_class = PerTensorQuantized

    def detail(self, tensor: PerTensorQuantized) -> int:
        """Bits that hold any integer."""
        return 16

    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """Any shape of not too many numbers."""
        return detail == 16 and math.prod(shape) <= MAX_PER_TENSOR

    def describe(self, tensor: PerTensorQuantized) -> str:
        """Levels."""
        return f"{count_levels(tensor.symbols)} levels x step"

    def nearest(self, plan: TensorPlan, weight: npt.NDArray[np.float32]) -> StoredTensor:
        """In steps of `plan.base`."""
        symbols = np.rint(weight / np.float32(plan.base))
        if weight.size > MAX_PER_TENSOR or np.abs(symbols).max(initial=0) > MAX_SYMBOL:
            return to_floats(plan.role, weight)
        return PerTensorQuantized(plan.role, symbols.astype(np.int16), plan.base)

    def serial_numbers(self, shape: tuple[int, ...], detail: int) -> int:
        """Every one."""
        return math.prod(shape)

    def coded_sections(self, tensors: Sequence[PerTensorQuantized]) -> dict[str, bytes]:
        """Steps, then integers."""
        steps = np.array([tensor.step for tensor in tensors], "<f4").tobytes()
        return {VECTORS: steps + encode_arrays([tensor.symbols for tensor in tensors])}

    def read(
        self, entries: Sequence[TensorEntry], parts: Sequence[Parts], coded: CodedSections
    ) -> list[PerTensorQuantized]:
        """Refuse steps and integers that make no weights."""
        steps, stream = read_steps(coded.read(VECTORS, at_most=MAX_CODED_BYTES), len(entries), VECTORS)
        if (steps.astype(np.float64) * MAX_SYMBOL >= LARGEST).any():
            raise FormatError("a step of a vector is too large for 32 bits")
        arrays = decode_arrays(stream, [math.prod(entry.shape) for entry in entries])
        if any(np.abs(array).max() > MAX_SYMBOL for array in arrays):
            raise FormatError(f"a number of a vector is beyond {MAX_SYMBOL}")
        return [
            PerTensorQuantized(entry.role, array.astype(np.int16).reshape(entry.shape), float(step))
            for entry, array, step in zip(entries, arrays, steps, strict=True)
        ]

    def estimate(self, tensor: PerTensorQuantized) -> SizeEstimate:
        """The step, and the integers as they are coded by themselves."""
        many = tensor.symbols.size > MAX_CODED_ESTIMATE
        return SizeEstimate(4.0 + (entropy_bytes(tensor.symbols) if many else len(encode_arrays([tensor.symbols]))))

    def section_costs(self, tensors: Mapping[str, PerTensorQuantized]) -> dict[str, dict[str, float]]:
        """One section."""
        return {VECTORS: {name: self.estimate(tensor).own_bytes for name, tensor in tensors.items()}}


FORMATS = (PerTensorFormat(),)
