"""A failed write leaves the previous version intact."""

import errno
import os
from pathlib import Path

import pytest

from bytecap.core.errors import BackendError, DataError
from bytecap.core.files import append, make_folder, read_json, refuse_place, write_atomic, write_bytes, write_json


def test_replaces_whole_files(tmp_path: Path) -> None:
    """The new version is there, nothing else."""
    path = tmp_path / "folder" / "a.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A full disk is named, the previous version stays, no temporary file is left."""
    path = tmp_path / "a.bin"
    write_bytes(path, b"previous")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail) if call == "fsync" else monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(BackendError, match="the disk is full; the previous version is intact"):
        write_bytes(path, b"next")
    assert path.read_bytes() == b"previous"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    """Named as that, whatever was to be written, and nothing is left behind."""
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "a.bin"
    ways = (
        lambda: write_bytes(path, b""),
        lambda: make_folder(path),
        lambda: append(path, "x"),
        lambda: refuse_place(path),
    )
    for write in ways:
        with pytest.raises(BackendError, match="a file is where a folder is needed; nothing was written"):
            write()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused before any work; a place that can be written to is not touched."""
    refuse_place(tmp_path / "new" / "deep" / "a.bin")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path)
    with pytest.raises(BackendError, match="Permission denied; nothing was written"):
        refuse_place(tmp_path / "new" / "a.bin")


def test_a_library_finds_a_file_that_can_be_written_to(tmp_path: Path) -> None:
    """What fails is found before a library is asked, whose errors are its own; files can be read by others."""

    def fill(temporary: Path) -> None:
        assert temporary.stat().st_size == 0
        temporary.write_bytes(b"full")

    write_atomic(tmp_path / "a.bin", fill)
    assert (tmp_path / "a.bin").read_bytes() == b"full" and (tmp_path / "a.bin").stat().st_mode & 0o400


def test_unreadable_json(tmp_path: Path) -> None:
    """Missing and broken files are told apart."""
    with pytest.raises(DataError, match="does not exist"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_json(tmp_path / "a.json")
