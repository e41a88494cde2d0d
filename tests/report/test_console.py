"""Progress goes to stderr and to the log, results are left alone."""

from pathlib import Path

import pytest

from bytecap.report import console as console_module
from bytecap.report.console import Console


def test_plain_lines_and_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal: now and then a line, a note at once, the end with its seconds; all notes are logged."""
    monkeypatch.setattr(console_module, "_PLAIN_SECONDS", 0.0)
    console = Console()
    console.log_to(tmp_path / "log.txt")
    with console.stage("train"):
        console.update(1, 4, "step 1")
        console.update(2, 4, "step 2")
        console.note("a note")
    out, err = capsys.readouterr()
    assert out == "" and "train     50 %  step 2" in err and "train    a note" in err and "done in" in err
    log = (tmp_path / "log.txt").read_text()
    assert "a note" in log and "done in" in log


def test_quiet_writes_only_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing on either stream; the log is still written."""
    console = Console(quiet=True)
    console.log_to(tmp_path / "log.txt")
    with console.stage("train"):
        console.note("a note")
    assert capsys.readouterr() == ("", "") and "a note" in (tmp_path / "log.txt").read_text()


def test_live_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal one line is drawn for each stage, and it is closed when the stage fails."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    console = Console()
    with pytest.raises(ValueError, match="broken"), console.stage("fit"):
        console.update(1, 2, "half")
        console.note("a note")
        raise ValueError("broken")
    assert console._line is None and "a note" in capsys.readouterr().err
