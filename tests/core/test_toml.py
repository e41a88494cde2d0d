"""Values survive TOML; texts that are none are one kind of error."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.core.toml import parse_toml, toml_value

VALUES = st.recursive(
    st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_values_come_back(value: Any) -> None:
    """Through the standard library's reader."""
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


def test_nothing_is_left_out() -> None:
    """As None in a table is, for which TOML has no word."""
    assert tomllib.loads(f"x = {toml_value({'a': None, 'b': 1})}") == {"x": {"b": 1}}


@pytest.mark.parametrize("text", ["x", "x = " + "1" * 5000, "x = " + "[" * 100_000, "x = " + "{a=" * 50_000])
def test_what_is_none(text: str) -> None:
    """Nonsense, endless digits, endless nesting."""
    with pytest.raises(ValueError, match=r"."):
        parse_toml(text)
