"""The steps a stored integer may be multiplied by: eighths of an octave, exact in float32 on every machine.

A step code c stands for MANTISSAS[c % 8] * 2^(c // 8 - 23 - 24), which is 2^(c / 8 - 24) rounded once, here, for ever.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

STEPS_PER_OCTAVE = 8
LOWEST_EXPONENT = -24
MAX_CODE = 255

MANTISSAS = np.array([8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775], np.int64)
"""2^(k/8) in units of 2^-23, k = 0 .. 7."""


def steps_of(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Step of each code, exact."""
    wide = codes.astype(np.int64)
    exponents = wide // STEPS_PER_OCTAVE + LOWEST_EXPONENT - 23
    steps: npt.NDArray[np.float32] = np.ldexp(MANTISSAS[wide % STEPS_PER_OCTAVE].astype(np.float64), exponents).astype(
        np.float32
    )
    return steps


def nearest_codes(steps: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """The code whose step is nearest on a logarithmic scale; 0 or less gives the finest code."""
    octaves = np.log2(np.maximum(steps.astype(np.float64), 2.0 ** (LOWEST_EXPONENT - 1)))
    codes: npt.NDArray[np.float64] = np.rint((octaves - LOWEST_EXPONENT) * STEPS_PER_OCTAVE)
    return codes.clip(0, MAX_CODE).astype(np.uint8)
