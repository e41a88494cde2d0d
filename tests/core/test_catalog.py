"""Recipes and tracks are found by name or path."""

from pathlib import Path

import pytest

from bytecap.core import catalog
from bytecap.core.errors import ConfigError


def test_names_and_paths(tmp_path: Path) -> None:
    """Ours by name, anyone's by path; an unknown name gets the nearest."""
    assert "baseline" in catalog.names("recipes") and "laptop" in catalog.names("tracks")
    path = tmp_path / "mine.toml"
    path.write_text("[model]\nn_layers = 2\n")
    assert catalog.read("recipes", str(path)) == {"model": {"n_layers": 2}}
    with pytest.raises(ConfigError, match=r"no recipe 'baselin' .did you mean baseline"):
        catalog.read("recipes", "baselin")
    path.write_text("[model\n")
    with pytest.raises(ConfigError, match=r"mine.toml cannot be read: .*; correct it, or give another"):
        catalog.read("recipes", str(path))
    path.write_text('run = "fast"\n')
    with pytest.raises(ConfigError, match=r"mine.toml: run must be a table; write \[run\]"):
        catalog.read("recipes", str(path))
