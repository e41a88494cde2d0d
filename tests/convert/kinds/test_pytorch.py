"""PyTorch's checkpoints: shapes that no program uses. What trainers write: tests/convert/test_child.py."""

import time
from pathlib import Path

import pytest
import torch

from bytecap.convert.child import convert_files
from bytecap.core.errors import DataError


def test_thousands_of_axes(tmp_path: Path) -> None:
    """Refused by name."""
    torch.save({"w": torch.ones(2, 2), "v": torch.ones(1).as_strided([1] * 5000, [1] * 5000)}, tmp_path / "x.pt")
    began = time.process_time()
    with pytest.raises(DataError, match=r"tensor v has 5,000 axes"):
        convert_files({str(tmp_path / "x.pt"): None}, None, tmp_path)
    assert time.process_time() - began < 30
