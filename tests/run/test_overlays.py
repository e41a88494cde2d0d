"""Tables are laid over each other key by key; tests/run/test_recipe.py has what comes of it."""

from pathlib import Path

import pytest

from bytecap.core.errors import ConfigError
from bytecap.run.overlays import overlay, parse_override, with_parent


def test_tables_merge_and_values_are_replaced() -> None:
    """Tables merge at any depth, everything else is replaced, and neither table is changed."""
    below, above = {"a": {"b": 1, "c": [1, 2]}, "d": 3}, {"a": {"c": [4]}, "d": {"e": 5}}
    assert overlay(below, above) == {"a": {"b": 1, "c": [4]}, "d": {"e": 5}}
    assert below == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


def test_values_are_toml_or_text() -> None:
    """TOML where it is TOML, text where it is not."""
    assert parse_override("a.b=[1, 2]") == {"a": {"b": [1, 2]}}
    assert parse_override("a.b=some words = x") == {"a": {"b": "some words = x"}}


def test_a_parent_has_a_name(tmp_path: Path) -> None:
    """A base that is no name is refused before it is looked for."""
    path = tmp_path / "mine.toml"
    path.write_text("[run]\nbase = 3\n")
    with pytest.raises(ConfigError, match=r"run\.base must be the name of a recipe, found 3"):
        with_parent(str(path))
