"""What a model opens is seen: files by any way through Python or into memory, programs, connections."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bytecap.auditing.opened_files import opened, watching
from bytecap.auditing.subject import Question, Subject


@pytest.fixture
def question() -> Question:
    """Of a subject of nothing."""
    return Question(subject=Subject(name="nothing"), rng=np.random.default_rng(0))


def test_each_opened_file_is_listed_once(question: Question, tmp_path: Path) -> None:
    """Each once, those of libraries and what is opened outside apart."""
    for name in ("read.bin", "array.npy", "mapped.npy", "outside.bin"):
        np.save(tmp_path / name, np.arange(3)) if name.endswith("npy") else (tmp_path / name).write_bytes(b"x")
    with watching(question):
        (tmp_path / "read.bin").read_bytes()
        (tmp_path / "read.bin").read_bytes()
        np.load(tmp_path / "array.npy")
        mapped = np.load(tmp_path / "mapped.npy", mmap_mode="r")
        Path(np.__file__).read_bytes()
        assert not (tmp_path / "missing").exists()
    (tmp_path / "outside.bin").read_bytes()
    assert sorted(path.name for path in opened(question).files) == ["array.npy", "mapped.npy", "read.bin"]
    assert mapped[0] == 0 and not opened(question).others


def test_programs_and_connections(question: Question) -> None:
    """Told by their event."""
    with watching(question), pytest.raises(OSError):
        subprocess.run([sys.executable, "-c", ""], check=True)
        socket.create_connection(("127.0.0.1", 9), timeout=0.1)
    found = opened(question).others
    assert any("subprocess.Popen" in event for event in found) and any("socket.connect" in event for event in found)
