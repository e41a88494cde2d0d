"""Integers times one 16-bit scale for each row, behind a general compressor: the form of the published runs.

Letters: O rows (outputs, channels), I columns (inputs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PER_CHANNEL = "per_channel"


@dataclass(frozen=True)
class PerChannelQuantized:
    """weight[o, i] = symbols[o, i] * scale[o]."""

    role: str
    symbols_OI: npt.NDArray[np.int16]
    scales_O: npt.NDArray[np.float16]

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I)."""
        return self.symbols_OI.shape

    def weights(self) -> npt.NDArray[np.float32]:
        """(O, I)."""
        weights: npt.NDArray[np.float32] = (
            self.symbols_OI.astype(np.float32) * self.scales_O.astype(np.float32)[:, None]
        )
        return weights
