"""Tensors of any shape stored as they are, at 16 or 32 bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
