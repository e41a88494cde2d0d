"""One writer at a time, and none that outlives its process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bytecap.core.errors import BackendError, exit_code_for
from bytecap.core.lock import LOCK, writing

HOLDER = """
import sys, time
from pathlib import Path
from bytecap.core.lock import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock by now."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_is_first(tmp_path: Path) -> None:
    """Process and time in one sentence, exit code 7; after kill -9 the folder is free and rid of half files."""
    folder = tmp_path / "run"
    with holder(folder) as other:
        said = f"{folder} is being written by process {other.pid} since 20.*; wait or choose another --out"
        with pytest.raises(BackendError, match=said) as caught, writing(folder):
            raise AssertionError("two writers")
        assert exit_code_for(caught.value) == 7 and caught.value.values["process"] == other.pid
        (folder / f".a.bin.{other.pid}.tmp").mkdir()
        other.send_signal(signal.SIGKILL)
        other.wait()
    with writing(folder):
        assert [path.name for path in folder.iterdir()] == [LOCK]
        assert str(os.getpid()) in (folder / LOCK).read_text()
    assert (folder / LOCK).read_text() == ""


def test_a_holder_that_said_nothing(tmp_path: Path) -> None:
    """Between locking and saying so, or on a full disk, it is just another process."""
    with holder(tmp_path) as other:
        for text in ("", "{", "[]", '{"process": "x"}'):
            (tmp_path / LOCK).write_text(text)
            with pytest.raises(BackendError, match="is being written by another process; wait"), writing(tmp_path):
                raise AssertionError("two writers")
        other.kill()


def test_released_by_errors_and_again(tmp_path: Path) -> None:
    """One after the other, any number of times, also within one process."""
    for _ in range(2):
        with pytest.raises(ValueError, match="mine"), writing(tmp_path):
            raise ValueError("mine")
    with writing(tmp_path), pytest.raises(BackendError, match=f"process {os.getpid()} "), writing(tmp_path):
        raise AssertionError("two writers")


def test_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no locks is written to all the same; a folder that cannot be written to is named."""
    import fcntl

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with writing(tmp_path), writing(tmp_path):
        (tmp_path / "a").touch()
    (tmp_path / "file").touch()
    with pytest.raises(BackendError, match="a file is where a folder is needed"), writing(tmp_path / "file"):
        time.sleep(0)
