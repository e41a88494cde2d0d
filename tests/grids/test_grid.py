"""Steps are exact eighths of an octave, the same everywhere."""

import hashlib

import numpy as np

from bytecap.grids.grid import MAX_CODE, nearest_codes, steps_of

ALL = np.arange(MAX_CODE + 1, dtype=np.uint8)


def test_steps_are_eighths_of_an_octave() -> None:
    """Within one rounding of 2^(c/8 - 24), rising, and pinned to the bit."""
    steps = steps_of(ALL)
    assert np.allclose(steps, 2.0 ** (ALL / 8.0 - 24.0), rtol=1e-7, atol=0)
    assert (np.diff(steps) > 0).all() and steps[0] == 2.0**-24 and steps[192] == 1.0
    assert hashlib.sha256(steps.astype("<f4").tobytes()).hexdigest()[:16] == "1c6481a4b519bdf5"


def test_nearest_code_is_nearest() -> None:
    """Each step finds its own code, values in between the closer one, anything outside the end."""
    assert np.array_equal(nearest_codes(steps_of(ALL)), ALL)
    assert nearest_codes(np.array([1.04, 1.05, 0.0, -1.0, 1e9])).tolist() == [192, 193, 0, 0, MAX_CODE]
