"""A failed write leaves the previous version intact."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bytecap.core.errors import BackendError, ConfigError, DataError
from bytecap.core.files import (
    append,
    keep_lines,
    make_folder,
    read_json,
    read_object,
    refuse_place,
    remove_stale,
    write_atomic,
    write_bytes,
    write_json,
)


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
    with pytest.raises(BackendError, match="the disk is full; what was there before is intact"):
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


def test_no_name_at_all() -> None:
    """The empty path is a folder, not a file."""
    with pytest.raises(BackendError, match=r"cannot save \.: a folder is where a file is needed"):
        write_bytes(Path(), b"x")


def test_nothing_that_is_there_is_replaced(tmp_path: Path) -> None:
    """Where that is asked: neither a file, nor a link to none."""
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").symlink_to(tmp_path / "none")
    refuse_place(tmp_path / "a")
    refuse_place(tmp_path / "c", replace=False)
    for name in "ab":
        with pytest.raises(ConfigError, match="is there already and would be lost"):
            refuse_place(tmp_path / name, replace=False)


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


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_modes_follow_the_umask(tmp_path: Path, mask: int) -> None:
    """Every file can be read by whom the umask lets, whoever made the temporary one, and whatever was there before."""

    def private(temporary: Path) -> None:  # as safetensors does
        other = temporary.with_name("other")
        other.touch(0o600)
        other.replace(temporary)

    before = os.umask(mask)
    try:
        write_atomic(tmp_path / "a.bin", private)
        write_bytes(tmp_path / "b.bin", b"")
        append(tmp_path / "c.txt", "")
        keep_lines(tmp_path / "c.txt", 0)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~mask}


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from safetensors.numpy import save_file
from bytecap.core.errors import BackendError
from bytecap.core.files import append, write_atomic, write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
folder, big = Path(sys.argv[1]), np.zeros(5000, np.float32)
ways = {
    "whole.bin": lambda path: write_bytes(path, bytes(5000)),
    "tensors.safetensors": lambda path: write_atomic(path, lambda temporary: save_file({"a": big}, temporary)),
    "lines.txt": lambda path: append(path, "x" * 4090),
}
for name, write in ways.items():
    try:
        write(folder / name)
    except BackendError as error:
        assert "the disk is full; what was there before is intact" in str(error), error
    else:
        raise AssertionError(name)
"""


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """Whoever writes, a library included, the error is one sentence and the version before is whole."""
    for name in ("whole.bin", "tensors.safetensors", "lines.txt"):
        (tmp_path / name).write_bytes(b"previous\n")
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"previous\n"} and len(list(tmp_path.iterdir())) == 3


def test_keep_lines(tmp_path: Path) -> None:
    """The first lines, or all that are whole; a file with no more is not touched."""
    path = tmp_path / "a.txt"
    keep_lines(path, 3)
    assert not path.exists()
    for count, kept in ((5, "1\n2\n3\n"), (2, "1\n2\n"), (0, "")):
        path.write_text("1\n2\n3\nhalf a li")
        keep_lines(path, count)
        assert path.read_text() == kept
    path.write_text("1\n")
    stamp = path.stat().st_mtime_ns
    keep_lines(path, 1)
    assert path.stat().st_mtime_ns == stamp


KILLED = """
import os, signal, sys
from pathlib import Path
from bytecap.core.files import write_atomic
def fill(temporary):
    temporary.with_name("of a library").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path(sys.argv[1]), fill)
"""


def test_what_killed_processes_leave_is_removed(tmp_path: Path) -> None:
    """Theirs, in this version's form and an older one's; never that of a process at work, nor anybody's own files."""
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.bin")], check=False)
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1 and left[0].startswith(".a.bin.")
    dead = left[0].split(".")[-2]
    mine = [f".b.bin.{os.getppid()}.tmp", ".notes.tmp", "c.bin.1.tmp", ".tmp", ".d.bin.x.tmp"]
    for name in (*mine, f".e.json.{dead}.tmp"):
        (tmp_path / name).touch()
    assert remove_stale(tmp_path) == sorted([left[0], f".e.json.{dead}.tmp"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(mine)


def test_unreadable_json(tmp_path: Path) -> None:
    """Missing and broken files are told apart."""
    with pytest.raises(DataError, match="does not exist"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_json(tmp_path / "a.json")
    for text in ("[" * 100_000, "1" * 5_000, '"\\ud800'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(DataError, match="not valid JSON"):
            read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match="not valid JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[1]", "the whole is of type list, not an object"),
        ("{}", "the whole has no 'name'"),
        ('{"name": 1, "sizes": {}}', "'name' is of type int"),
        ('{"name": "a", "sizes": 1}', "'sizes' is of type int, not an object"),
        ('{"name": "a", "sizes": {"x": "1"}}', "'x' is of type str"),
        ('{"name": "a", "sizes": {"x": true}}', "'x' is of type bool"),
        ('{"name": "a", "sizes": {}, "rows": 1}', "'rows' is of type int, not a list"),
        ('{"name": "a", "sizes": {}, "rows": [{"n": 1}, 2]}', "entry 1 of 'rows' is of type int, not an object"),
        ('{"name": "a", "sizes": {}, "rows": [{"n": 1}, {}]}', "entry 1 of 'rows' has no 'n'"),
        ('{"name": "a", "sizes": {}, "rows": [{"n": 1}, {"n": null}]}', "'n' is of type NoneType, not an object"),
        ('{"name": "a", "sizes": {"x": null}, "rows": [], "more": 1.5}', None),
        ('{"name": "a", "sizes": {}, "rows": [{"n": 1}, {"n": {"m": "x"}}]}', None),
        ('{"name": "a", "sizes": {"x": 1, "y": 2.5}, "rows": [], "more": 2}', None),
    ],
)
def test_objects_of_another_shape(tmp_path: Path, text: str, fault: str | None) -> None:
    """The first value that is not as it must be is named, and the next step; more keys than asked for are allowed."""
    path = tmp_path / "a.json"
    path.write_text(text)
    shape = {"name": str, "sizes": {...: float | None}, "rows": [{"n": (int, {"m": str})}]}
    if fault is None:
        assert read_object(path, shape)["name"] == "a"
    else:
        with pytest.raises(DataError, match=re.escape(f"({fault}); delete it and run the command")):
            read_object(path, shape)
