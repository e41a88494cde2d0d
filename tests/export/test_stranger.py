"""A folder that cannot be opened is said to be one."""

from pathlib import Path

import pytest
import torch

from bytecap.core.errors import NumericsError
from bytecap.export import stranger
from bytecap.export.stranger import open_elsewhere


def test_a_folder_that_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of what the process said."""
    (tmp_path / "script.py").write_text("raise ValueError('no such model')")
    monkeypatch.setattr(stranger, "_SCRIPT", tmp_path / "script.py")
    with pytest.raises(NumericsError, match=r"what was made of the file \(ValueError: no such model\); nothing was"):
        open_elsewhere(tmp_path, [torch.ones(1, 1, dtype=torch.long)], [])
