"""Frequencies sum exactly and stay close to the counts they came from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytecap.coding.tables import MAX_CODE, TOTAL, codes_of, make_frequencies, make_intervals
from bytecap.coding.tokens import MAGNITUDES
from bytecap.core.errors import FormatError


def row(values: list[int]) -> np.ndarray:
    return np.array([values + [0] * (MAGNITUDES - len(values))], np.int64)


@settings(max_examples=200)
@given(st.lists(st.integers(0, MAX_CODE), min_size=1, max_size=MAGNITUDES).filter(any))
def test_any_codes_sum_exactly(codes: list[int]) -> None:
    """Whatever a file says, both signs together fill the table, and what occurs can be coded."""
    frequencies = make_frequencies(row(codes))[0]
    assert frequencies[0] + 2 * frequencies[1:].sum() == TOTAL
    assert all(frequencies[i] > 0 for i, code in enumerate(codes) if code)
    start, size = make_intervals(frequencies[None])
    assert start[0, 0] == 0 and (start[0] + size[0])[-1] == TOTAL
    assert np.array_equal(start[0, 1:], np.cumsum(size[0])[:-1])


def test_close_to_the_counts() -> None:
    """A coder with these tables is within 0.002 bit of the entropy."""
    rng = np.random.default_rng(0)
    counts = row(np.bincount(np.abs(np.rint(rng.normal(size=50_000) * 4).astype(int))).tolist())
    frequencies = make_frequencies(codes_of(counts))[0] / TOTAL
    both = counts[0] / counts.sum()
    ideal = -(both[both > 0] * np.log2(both[both > 0] / np.where(np.arange(MAGNITUDES) > 0, 2, 1)[both > 0])).sum()
    assert -(both[both > 0] * np.log2(frequencies[both > 0])).sum() < ideal + 0.002


def test_forged_tables() -> None:
    """Empty tables and codes out of range."""
    with pytest.raises(FormatError, match="is empty"):
        make_frequencies(row([0]))
    with pytest.raises(FormatError, match="impossible code"):
        make_frequencies(row([MAX_CODE + 1]))
