"""Steps are exact quarters of an octave, the same everywhere."""

import hashlib

import numpy as np

from bytecap.formats.steps import MAX_CODE, make_steps, nearest_codes, quarter_octave_powers

ALL = np.arange(-2 * MAX_CODE, 2 * MAX_CODE + 1)


def test_powers_are_quarters_of_an_octave() -> None:
    """Within one rounding of 2^(c/4), rising, and pinned to the bit."""
    powers = quarter_octave_powers(ALL)
    assert np.allclose(powers, 2.0 ** (ALL / 4.0), rtol=1e-7, atol=0)
    assert (np.diff(powers) > 0).all() and powers[2 * MAX_CODE] == 1.0
    assert hashlib.sha256(powers.astype("<f4").tobytes()).hexdigest()[:16] == "5ee06e2c4e373c92"


def test_steps_are_rounded_once() -> None:
    """Base times the power of the sum of both codes."""
    rows, columns = np.array([-3, 0, 127], np.int8), np.array([5, -127], np.int8)
    steps = make_steps(0.1, rows, columns)
    for i, r in enumerate(rows.tolist()):
        for j, c in enumerate(columns.tolist()):
            assert steps[i, j] == np.float32(0.1) * quarter_octave_powers(np.array([r + c]))[0]


def test_nearest_code_is_nearest() -> None:
    """Each factor within an eighth of an octave of its code, which are centred on the median."""
    factors = np.exp(np.random.default_rng(0).normal(size=301) * 2)
    scale, codes = nearest_codes(factors)
    assert np.abs(np.log2(factors / scale) - codes / 4.0).max() <= 1 / 8 + 1e-12
    assert np.median(codes) == 0 and scale == np.median(factors)
    assert nearest_codes(np.array([1e-30, 1.0, 1e30]))[1].tolist() == [-MAX_CODE, 0, MAX_CODE]
