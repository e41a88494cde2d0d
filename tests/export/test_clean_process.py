"""A folder that cannot be opened is said to be one."""

from pathlib import Path

import pytest
import torch

from bytecap.core.errors import NumericsError
from bytecap.export import clean_process
from bytecap.export.clean_process import open_in_clean_process


def test_a_folder_that_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of what the process said."""
    (tmp_path / "script.py").write_text("raise ValueError('no such model')")
    monkeypatch.setattr(clean_process, "_SCRIPT", tmp_path / "script.py")
    with pytest.raises(NumericsError, match=r"what was made of the file \(ValueError: no such model\); nothing was"):
        open_in_clean_process(tmp_path, [torch.ones(1, 1, dtype=torch.long)], [])
