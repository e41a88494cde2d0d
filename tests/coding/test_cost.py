"""Costs equal their definition, and shares add up."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.coding.cost import apportion, entropy_bytes


@given(st.lists(st.integers(-9, 9), max_size=80))
def test_entropy_is_minus_the_sum_of_log2_shares(values: list[int]) -> None:
    """Minus the sum of log2 of each symbol's share."""
    counts = Counter(values)
    bits = -sum(math.log2(counts[v] / len(values)) for v in values)
    assert entropy_bytes(np.array(values, np.int16)) == pytest.approx(bits / 8, abs=1e-9)


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_apportioned_counts_are_whole_and_exact_in_sum(total: int, parts: list[float]) -> None:
    """Whole, exact in sum, each within one of its share."""
    shares = apportion(total, parts)
    assert sum(shares) == total
    assert all(abs(s - total * p / sum(parts)) <= 1.0001 for s, p in zip(shares, parts, strict=True))
