"""Safetensors: shapes are looked at before they are taken."""

import json
from pathlib import Path

import pytest

from bytecap.convert.child import read_tables
from bytecap.core.errors import DataError


def test_thousands_of_axes(tmp_path: Path) -> None:
    """A shape that torch would take minutes over."""
    head = json.dumps({"w": {"dtype": "F32", "shape": [1] * 5000, "data_offsets": [0, 4]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    with pytest.raises(DataError, match="5,000 axes"):
        read_tables(tmp_path / "x.safetensors")
