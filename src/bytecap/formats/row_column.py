"""Integers on a trellis times a step of each row and each column: base · 2^((row code + column code) / 4).

Letters: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.formats.steps import make_steps
from bytecap.formats.trellis import to_levels

ROW_COLUMN = "row_column"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RowColumnQuantized:
    """weight[o, i] = level[o, i] * step[o, i], with the step from a base, a row code and a column code."""

    role: str
    symbols_OI: npt.NDArray[np.int16]
    base: float
    row_codes_O: npt.NDArray[np.int8]
    column_codes_I: npt.NDArray[np.int8]
    states: int
    """States of the trellis; 1 for none."""
    width_axes: int = 0
    """Axes of size 1 behind the columns, as convolutions of width 1 have them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I), or (O, I, 1) and so on."""
        return (*self.symbols_OI.shape, *[1] * self.width_axes)

    def steps(self) -> Floats:
        """(O, I)."""
        return make_steps(self.base, self.row_codes_O, self.column_codes_I)

    def weights(self) -> Floats:
        """(O, I), or (O, I, 1) and so on; one product of two float32 numbers, so the result is exact to the bit."""
        levels_OI = to_levels(self.symbols_OI, self.states)
        return (levels_OI.astype(np.float32) * self.steps()).reshape(self.shape)
