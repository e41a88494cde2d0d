"""Planes give back the integers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bytecap.coding.planes import from_planes, is_wide, to_planes


@given(st.lists(st.integers(-32768, 32767), max_size=50))
def test_round_trip(values: list[int]) -> None:
    """Wide when they need it, narrow when they do not."""
    symbols = np.array(values, np.int16)
    wide = is_wide(symbols)
    assert wide == any(not -128 <= v <= 127 for v in values)
    data = to_planes(symbols, wide=wide)
    assert len(data) == len(values) * (2 if wide else 1)
    assert from_planes(data, len(values), wide=wide).tolist() == values


def test_low_bytes_come_before_high_bytes() -> None:
    """Low bytes of values plus 128 first, then high bytes."""
    assert to_planes(np.array([[1, -2], [300, 0]], np.int16), wide=True) == bytes.fromhex("817eac80 00000100")
    assert to_planes(np.array([[1, -2]], np.int16), wide=False) == bytes.fromhex("01fe")
