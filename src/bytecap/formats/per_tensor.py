"""Integers times one step for the whole tensor, of any shape, coded one after another: gains, mixes, biases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PER_TENSOR = "per_tensor"
MAX_PER_TENSOR = 1 << 20
"""Numbers of one tensor; they are coded one at a time."""


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
        weights: npt.NDArray[np.float32] = self.symbols.astype(np.float32) * np.float32(self.step)
        return weights
