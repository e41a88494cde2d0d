"""Every script in benchmarks/ explains itself, and those that can run in seconds do."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name not in ("peer_worker.py", "peer_training.py"))
TINY = ["model.n_layers=2", "model.d_model=16", "model.d_ff=32", "train.batch=2", "train.context=64"]


def run(monkeypatch: pytest.MonkeyPatch, name: str, *words: str) -> None:
    """One script in this process, with the folder of scripts on the path as it is when one is called."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_path(str(FOLDER / name), run_name="__main__")


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_explains_itself(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All that it imports is there, and --help says what it is for."""
    with pytest.raises(SystemExit) as left:
        run(monkeypatch, name, "--help")
    assert left.value.code == 0 and "usage:" in capsys.readouterr().out


@pytest.mark.slow
def test_speeds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Rates are printed with a ratio, on a model that takes no time."""
    run(monkeypatch, "scoring_speed.py", "300", *TINY)
    assert "times slower than plain" in capsys.readouterr().out
    run(monkeypatch, "training_speed.py", "--steps", "5", "--shapes", "3x72")
    assert "  3x72 " in capsys.readouterr().out


@pytest.mark.slow
def test_unused_bytes(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two caps on the smallest run."""
    run(monkeypatch, "unused_bytes.py", str(finished), "2")
    assert "2 caps from" in capsys.readouterr().out


@pytest.mark.slow
def test_fit_vs_published(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each side at equal bytes, with the ratio."""
    run(monkeypatch, "fit_vs_published.py", "--rates", "6.0", "--seeds", "0", "--tokens", "1024", str(finished))
    assert "KL ratio" in capsys.readouterr().out


@pytest.mark.slow
def test_reading_code() -> None:
    """In a process of its own, because what is imported counts."""
    done = subprocess.run([sys.executable, FOLDER / "reading_code.py"], capture_output=True, text=True, check=True)
    assert "by brotli-11" in done.stdout
