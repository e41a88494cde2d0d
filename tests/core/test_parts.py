"""What lies in a folder is there, by the name of its file."""

from pathlib import Path

import pytest

from bytecap.core.errors import ConfigError
from bytecap.core.parts import Parts
from bytecap.train import hooks
from bytecap.train.hooks.base import TrainingHook
from bytecap.train.hooks.ema import EMA


def test_found_by_name(tmp_path: Path) -> None:
    """Sorted, without the base; unknown names get the nearest, files without a part are the writer's mistake."""
    parts = Parts("training hook", hooks.__name__, [*hooks.__path__, str(tmp_path)], TrainingHook)
    assert "ema" in parts.names() and "base" not in parts.names() and parts.find("ema") is EMA
    for wrong in ("emaa", "base", "..core", "\x1b[2J"):
        with pytest.raises(ConfigError, match=r"there is no training hook '.*known: .*ema") as caught:
            parts.find(wrong)
        assert str(caught.value).isprintable()
    hooks.__path__.append(str(tmp_path))
    try:
        (tmp_path / "two_at_once.py").write_text(
            "from bytecap.train.hooks.base import TrainingHook\nclass A(TrainingHook): pass\nclass B(A): pass\n"
        )
        with pytest.raises(TypeError, match=r"two_at_once\.py holds 2 subclasses of TrainingHook; one file is one"):
            parts.find("two_at_once")
    finally:
        hooks.__path__.remove(str(tmp_path))
