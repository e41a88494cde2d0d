"""The low-rank repair of the last record: what rounding lost, given back along its four largest directions.

In:   what each weight lost by rounding (weight minus rounded weight), by name.
Out:  for the three largest, two thin factors in small integers whose product is added to the rounded weight.

The residual is (U S) Vᵀ; U S is stored at 2 bits with one scale for all of it, Vᵀ at 4 bits with a scale for each 64
numbers in row order.

Letters: O rows (outputs), I columns (inputs), R rank, G groups.
Source:  openai/parameter-golf #1797; the idea is LQER, arXiv 2402.02446.
Differs: a last group that is not full has its own scale all the same, where the run stored both factors otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TENSORS, RANK, GROUP = 3, 4, 64
LEFT_BITS, RIGHT_BITS = 2, 4

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LowRank:
    """An addition to one weight: left · right, each integers times scales."""

    left_OR: npt.NDArray[np.int8]
    """U S in -2 .. 1."""
    left_scale: np.float16
    right_RI: npt.NDArray[np.int8]
    """Vᵀ in -8 .. 7."""
    right_scales_G: npt.NDArray[np.float16]
    """One for each `group` numbers of `right_RI`, rows one after the other."""
    group: int

    def correction(self) -> Floats:
        """(O, I) to add; summed at 64 bits in a fixed order, so the result is the same on every machine."""
        scales = np.repeat(self.right_scales_G.astype(np.float64), self.group)[: self.right_RI.size]
        right_RI = self.right_RI * scales.reshape(self.right_RI.shape)
        left_OR = self.left_OR * np.float64(self.left_scale)
        total_OI = np.zeros((left_OR.shape[0], right_RI.shape[1]))
        for r in range(right_RI.shape[0]):
            total_OI += left_OR[:, r, None] * right_RI[r]
        return total_OI.astype(np.float32)

    @property
    def symbol_bytes(self) -> int:
        """Both factors packed at 2 and 4 bits; the run left the packing to its compressor."""
        return -(-LEFT_BITS * self.left_OR.size // 8) + -(-RIGHT_BITS * self.right_RI.size // 8)

    @property
    def scale_bytes(self) -> int:
        """All scales at 16 bits."""
        return 2 * (1 + self.right_scales_G.size)


def repairs(
    residuals_OI: Mapping[str, Floats], *, tensors: int = TENSORS, rank: int = RANK, group: int = GROUP
) -> dict[str, LowRank]:
    """Repair the `tensors` weights that lost most in the sense of the Frobenius norm, the worst first."""
    lost = {name: float(np.square(value, dtype=np.float64).sum()) for name, value in residuals_OI.items()}
    worst = sorted(lost, key=lambda name: -lost[name])[:tensors]
    return {name: low_rank(residuals_OI[name], rank=rank, group=group) for name in worst}


def low_rank(residual_OI: Floats, *, rank: int = RANK, group: int = GROUP) -> LowRank:
    """The `rank` largest directions of one residual, in small integers."""
    U_OM, S_M, V_MI = np.linalg.svd(residual_OI.astype(np.float64), full_matrices=False)
    left_OR, right_RI = U_OM[:, :rank] * S_M[:rank], V_MI[:rank]
    left_symbols, left_scales = _small_integers(left_OR, left_OR.size, LEFT_BITS)
    right_symbols, right_scales = _small_integers(right_RI, group, RIGHT_BITS)
    return LowRank(left_symbols, left_scales[0], right_symbols, right_scales, group)


def _small_integers(values: Doubles, group: int, bits: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """Integers -2^(bits-1) .. 2^(bits-1) - 1; the largest value of a group lies half a step beyond the last integer."""
    half = 2 ** (bits - 1)
    flat = np.abs(values).reshape(-1)
    scales_G = (np.maximum.reduceat(flat, np.arange(0, flat.size, group)) / (half - 0.5)).astype(np.float16)
    each = np.repeat(scales_G.astype(np.float64), group)[: flat.size].reshape(values.shape)
    symbols = np.rint(values / np.where(each > 0, each, np.inf)).clip(-half, half - 1)
    return symbols.astype(np.int8), scales_G
