"""Tokens and extra bits give back every integer."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bytecap.coding.tokens import MAGNITUDES, TOKENS, extra_bits, extra_count, from_tokens, magnitude_tokens, to_tokens


def test_every_integer() -> None:
    """All of them, through tokens and back; parity and sign stand in the token."""
    symbols = np.arange(-32767, 32768).astype(np.int16)
    tokens, bits = to_tokens(symbols), extra_bits(symbols)
    assert extra_count(tokens) == bits.size and tokens.max() == TOKENS - 1 == 2 * MAGNITUDES - 2
    assert np.array_equal(from_tokens(tokens, bits), symbols)
    assert np.array_equal(((tokens + 1) >> 1) & 1, np.abs(symbols.astype(int)) & 1)


@given(st.lists(st.integers(-32767, 32767), max_size=40))
def test_any_order(values: list[int]) -> None:
    """Bits are used in the order of the symbols."""
    symbols = np.array(values, np.int16)
    assert from_tokens(to_tokens(symbols), extra_bits(symbols)).tolist() == values


def test_tokens_at_the_edges_of_octaves() -> None:
    """Fifteen is the last with a token of its own; 16 begins an octave of four quarters and two parities."""
    assert magnitude_tokens(np.array([0, 15, 16, 17, 18, 19, 20, 31, 32, 32767])).tolist() == [
        0, 15, 16, 17, 16, 17, 18, 23, 24, 103,
    ]  # fmt: skip
    assert to_tokens(np.array([0, 1, -1, 2, -2, 16, -17], np.int16)).tolist() == [0, 1, 2, 3, 4, 31, 34]
    assert extra_bits(np.array([16, 18, 3, 33, 39], np.int16)).tolist() == [0, 1, 0, 0, 1, 1]
