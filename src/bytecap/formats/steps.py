"""The steps a stored integer may be multiplied by, exact in float32 on every machine.

A step is base · 2^((r + c) / 4): one float32 for the tensor, a code for the row and a code for the column, both in
quarter octaves. Quarters cost 0.004 bit per weight against exact factors; finer codes cost more than that to store
(docs/fit.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CODES_PER_OCTAVE = 4
MAX_CODE = 127

MANTISSAS = np.array([8388608, 9975792, 11863283, 14107901], np.int64)
"""2^(k/4) in units of 2^-23, k = 0 .. 3."""


def quarter_octave_powers(codes: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """2^(code / 4), rounded once, here, for ever."""
    wide = codes.astype(np.int64)
    mantissas = MANTISSAS[wide % CODES_PER_OCTAVE].astype(np.float64)
    return np.ldexp(mantissas, wide // CODES_PER_OCTAVE - 23).astype(np.float32)


def make_steps(
    base: float, row_codes_O: npt.NDArray[np.int8], column_codes_I: npt.NDArray[np.int8]
) -> npt.NDArray[np.float32]:
    """Step of every weight, (O, I): base times the power of both codes, rounded once to float32."""
    places_OI = row_codes_O.astype(np.int16)[:, None] + (column_codes_I.astype(np.int16) + 2 * MAX_CODE)
    steps_OI: npt.NDArray[np.float32] = _POWERS[places_OI]
    steps_OI *= np.float32(base)
    return steps_OI


_POWERS = quarter_octave_powers(np.arange(-2 * MAX_CODE, 2 * MAX_CODE + 1))
"""The power of every sum of two codes."""


def nearest_codes(factors: npt.NDArray[np.floating]) -> tuple[float, npt.NDArray[np.int8]]:
    """Positive factors as (scale, codes): factor ≈ scale · 2^(code / 4), codes centred on their median."""
    octaves = np.log2(factors.astype(np.float64))
    centre = float(np.median(octaves))
    codes = np.rint((octaves - centre) * CODES_PER_OCTAVE).clip(-MAX_CODE, MAX_CODE)
    return 2.0**centre, codes.astype(np.int8)
