"""Every script in examples/ runs and says what its docstring promises."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = {path.name for path in (ROOT / "examples").glob("*.py")}
SAID = {
    "fit_a_module.py": ["original", "fitted", "nats per token"],
    "text_to_score.py": ["of 24,000 bytes", "after fitting", "bits per byte"],
    "compare_schemes.py": ["bytecap", "best_published"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_it_runs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, without arguments."""
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    said = capsys.readouterr().out
    assert all(words in said for words in SAID[name]), said


@pytest.mark.slow
def test_a_file_is_read_without_the_heavy_side(finished: Path) -> None:
    """In a process of its own, because what is imported counts."""
    command: list[str | Path] = [sys.executable, ROOT / "examples" / "read_a_file.py", finished / "model.bcap"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "weights" in said and "of the heavy side none" in said


def test_none_is_forgotten() -> None:
    """Each script has its test here, or in tests/model/test_llama.py."""
    assert {*SAID, "read_a_file.py", "for_other_programs.py"} == SCRIPTS
