"""A tensor quantized per channel, plus a low-rank correction: two thin factors of small integers with 16-bit scales.

Letters: O rows (outputs), I columns (inputs), R rank, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import FormatError
from bytecap.formats.base import CodedSections, Parts, Plain, StoredFormat, TensorEntry, read_floats
from bytecap.formats.per_channel import PerChannelFormat, PerChannelQuantized

LOW_RANK_CORRECTED = "low_rank_corrected"
RANK, GROUP = 4, 64
"""Fixed by the format: most directions of a weight, and numbers of the right factor that share a scale."""
LEFT_BITS, RIGHT_BITS = 2, 4
FACTORS, FACTOR_SCALES = Plain("factors"), Plain("factor_scales", 2)


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


class LowRankCorrectedFormat(StoredFormat[LowRankCorrected]):
    """One scale for each row, and a low-rank correction.

    Two axes, as `per_channel`, and with R = min(4, O, I) a weight is n_oi × s_o + c_oi. c_oi is the sum over
    r = 0, 1, .. of (a_or · α) · (b_ri · β), added in that order in float64 and rounded once to float32. a lies in
    −2 .. 1, b in −8 .. 7; α is one float16; β is the float16 number ⌊(r · I + i) / 64⌋ of ⌈R · I / 64⌉. All finite.

    Plain section `factors`: a, O · R signed bytes row by row, then b, R · I signed bytes row by row. Plain section
    `factor_scales`: α, then all β.
    """

    name = LOW_RANK_CORRECTED
    stored_class = LowRankCorrected
    _scaled = PerChannelFormat()

    def detail(self, tensor: LowRankCorrected) -> int:
        """Bits of an integer of the quantized tensor."""
        return self._scaled.detail(tensor.scaled)

    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """A matrix of either width."""
        return len(shape) == 2 and self._scaled.allows(shape, detail)

    def describe(self, tensor: LowRankCorrected) -> str:
        """Levels and rank."""
        return f"{self._scaled.describe(tensor.scaled)} + rank {tensor.correction.right_RI.shape[0]}"

    def plain_sizes(self, entry: TensorEntry) -> dict[Plain, int]:
        """The quantized tensor and the factors."""
        rows, columns = entry.shape
        factors = {FACTORS: low_rank_rank(rows, columns) * (rows + columns)}
        return self._scaled.plain_sizes(entry) | factors | {FACTOR_SCALES: 2 + 2 * group_count(rows, columns)}

    def plain_parts(self, tensor: LowRankCorrected) -> dict[Plain, bytes]:
        """The quantized tensor and the factors."""
        left, right = tensor.correction.left_OR, tensor.correction.right_RI
        scales = np.array([tensor.correction.left_scale, *tensor.correction.right_scales_G], "<f2")
        factors = {FACTORS: left.tobytes() + right.tobytes(), FACTOR_SCALES: scales.tobytes()}
        return self._scaled.plain_parts(tensor.scaled) | factors

    def read(
        self, entries: Sequence[TensorEntry], parts: Sequence[Parts], coded: CodedSections
    ) -> list[LowRankCorrected]:
        """Refuse factors beyond their bits."""
        scaled = self._scaled.read(entries, parts, coded)
        factors = [_read_factors(entry, part) for entry, part in zip(entries, parts, strict=True)]
        return [LowRankCorrected(one, correction) for one, correction in zip(scaled, factors, strict=True)]


def _read_factors(entry: TensorEntry, part: Parts) -> LowRank:
    (rows, columns), rank = entry.shape, low_rank_rank(*entry.shape)
    symbols, scales = np.frombuffer(part[FACTORS], np.int8), read_floats(entry, part[FACTOR_SCALES], "<f2")
    left_OR, right_RI = symbols[: rows * rank].reshape(rows, rank), symbols[rows * rank :].reshape(rank, columns)
    for factor, bits in ((left_OR, LEFT_BITS), (right_RI, RIGHT_BITS)):
        if factor.min() < -(1 << bits - 1) or factor.max() >= 1 << bits - 1:
            raise FormatError(f"a factor of tensor {entry.name} does not fit {bits} bits")
    return LowRank(left_OR, scales[0], right_RI, scales[1:])


FORMATS = (LowRankCorrectedFormat(),)
