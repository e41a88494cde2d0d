"""A tensor quantized per channel, plus a low-rank correction: two thin factors of small integers with 16-bit scales.

Letters: O rows (outputs), I columns (inputs), R rank, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.formats.per_channel import PerChannelQuantized

LOW_RANK_CORRECTED = "low_rank_corrected"
RANK, GROUP = 4, 64
"""Fixed by the format: most directions of a weight, and numbers of the right factor that share a scale."""
LEFT_BITS, RIGHT_BITS = 2, 4


def low_rank_rank(rows: int, columns: int) -> int:
    """Directions of a weight of this shape."""
    return min(RANK, rows, columns)


def group_count(rows: int, columns: int) -> int:
    """Scales of the right factor of a weight of this shape; the last group may be short."""
    return -(-low_rank_rank(rows, columns) * columns // GROUP)


@dataclass(frozen=True)
class LowRank:
    """left · right, each integers times scales."""

    left_OR: npt.NDArray[np.int8]
    """U S in -2 .. 1."""
    left_scale: np.float16
    right_RI: npt.NDArray[np.int8]
    """Vᵀ in -8 .. 7."""
    right_scales_G: npt.NDArray[np.float16]
    """One for each GROUP numbers of `right_RI`, rows one after the other."""

    def product(self) -> npt.NDArray[np.float32]:
        """(O, I) to add; summed at 64 bits in a fixed order, so the result is the same on every machine."""
        scales = np.repeat(self.right_scales_G.astype(np.float64), GROUP)[: self.right_RI.size]
        right_RI = self.right_RI * scales.reshape(self.right_RI.shape)
        left_OR = self.left_OR * np.float64(self.left_scale)
        total_OI = np.zeros((left_OR.shape[0], right_RI.shape[1]))
        for r in range(right_RI.shape[0]):
            total_OI += left_OR[:, r, None] * right_RI[r]
        return total_OI.astype(np.float32)

    def symbols(self) -> npt.NDArray[np.int8]:
        """All integers, left then right, each row by row."""
        return np.concatenate([self.left_OR.reshape(-1), self.right_RI.reshape(-1)])

    def scales(self) -> npt.NDArray[np.float16]:
        """All scales, the left one first."""
        return np.concatenate([np.array([self.left_scale], np.float16), self.right_scales_G])


@dataclass(frozen=True)
class LowRankCorrected:
    """A tensor quantized per channel, with a low-rank correction."""

    scaled: PerChannelQuantized
    correction: LowRank

    @property
    def role(self) -> str:
        """The role of the quantized tensor."""
        return self.scaled.role

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I)."""
        return self.scaled.shape

    def weights(self) -> npt.NDArray[np.float32]:
        """(O, I); one sum of two float32 numbers each, so the result is exact to the bit."""
        weights: npt.NDArray[np.float32] = self.scaled.weights() + self.correction.product()
        return weights
