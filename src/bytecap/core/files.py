"""Files written so that a crash or a full disk leaves the previous version intact, and JSON read without surprises.

In:   paths, bytes and JSON values.
Out:  files with the permissions that the user's umask gives; BackendError where a file cannot be written, DataError
      where one cannot be understood.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bytecap.core.errors import BackendError, ConfigError, DataError

_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")
"""Name of the folder in which a process fills a file before it takes its place: `.model.bcap.4711.tmp`."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where nothing more can be written: a full disk, a used-up quota, a limit on files."""


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file in a folder beside `path`, then fsync it and rename it over `path`.

    On any failure the temporary folder is removed and `path` is what it was; a full disk or a place that cannot be
    written to becomes a BackendError, also where a library has an error type of its own for it. What a library leaves
    beside its file when it is killed lies in the temporary folder too, where `remove_stale` finds it.
    """
    with _folder_beside(path) as folder:
        temporary = folder / path.name
        temporary.touch()
        mode = temporary.stat().st_mode  # what the umask gives; some libraries make files only their owner can read
        write(temporary)
        temporary.chmod(mode)
        _sync_file(temporary)
        temporary.replace(path)
        _sync_folder(path.parent)


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` make a folder next to `path`, which does not exist, and rename it; errors as of `write_atomic`."""
    with _folder_beside(path) as folder:
        made = folder / path.name
        fill(made)
        example = folder / "mode"
        example.touch()
        mode = example.stat().st_mode
        for file in made.rglob("*"):
            if file.is_file():
                file.chmod(mode)
                _sync_file(file)
        made.replace(path)
        _sync_folder(path.parent)


@contextlib.contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder that is removed afterwards; errors of the system become BackendErrors about `path`."""
    if not path.name:  # the empty path, or the root
        raise unwritable(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    folder = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except BaseException as error:
        if (failed := as_os_error(error)) is not None:
            raise unwritable(path, failed) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Make a folder with its parents; BackendError where that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def refuse_place(path: Path, *, replace: bool = True) -> None:
    """Raise, before any work, BackendError where a file at `path` could not be written.

    Where it may not `replace` anything, also ConfigError if something is there already.
    """
    if not replace and os.path.lexists(path):
        raise ConfigError(f"{path} is there already and would be lost; give another name, or remove it")
    there = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not there.is_dir():
        raise unwritable(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(there, os.W_OK | os.X_OK):
        raise unwritable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def write_bytes(path: Path, data: bytes) -> None:
    """Atomically write `data`."""
    write_atomic(path, lambda temporary: _write(temporary, data))


def write_json(path: Path, value: Any) -> None:
    """Atomically write `value` as indented JSON."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def append(path: Path, data: str | bytes) -> None:
    """Append to a file that may not exist yet, wholly or not at all; BackendError where that fails."""
    left = memoryview(data.encode() if isinstance(data, str) else data)
    try:
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(before)
                raise
    except OSError as error:
        raise unwritable(path, error) from error


def keep_lines(path: Path, count: int) -> None:
    """Atomically drop what follows the first `count` lines of a text file; nothing happens where it has no more.

    A last line without its newline, as a crash leaves it, counts as none.
    """
    if not path.exists():
        return
    data = path.read_bytes()
    lines = [line for line in data.splitlines(keepends=True)[:count] if line.endswith(b"\n")]
    if (kept := b"".join(lines)) != data:
        write_bytes(path, kept)


def remove_stale(folder: Path) -> list[str]:
    """Remove what processes that are gone have left half written in `folder`; returns the names of what was removed."""
    removed = []
    for path in sorted(folder.glob(".*.tmp")):
        match = _TEMPORARY.fullmatch(path.name)
        if match is None or _is_running(int(match[1])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)  # as version 0.1.0 named its temporary files
        removed.append(path.name)
    return removed


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; ValueError for anything wrong with it, endless nesting and digits included."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, remedy: str = "give the file or folder that has it") -> Any:
    """The JSON in `path`; DataError when it is missing, with what to do then, or not JSON."""
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; {remedy}", path=str(path)) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    except ValueError as error:
        raise unusable_json(path, f"is not valid JSON ({error})") from error


def read_object(path: Path, shape: Mapping[Any, Any]) -> dict[str, Any]:
    """The JSON object in `path`; DataError unless it has at least the keys of `shape`, with values of its types.

    A value of `shape` is a type, a union of types, another shape, a list of one shape that all entries have, or a tuple
    of shapes of which one fits; the key `...` speaks of all values. A whole number is a `float` too, a `bool` is not:

        read_object(path, {"artifact": str, "scores": {...: {"nats": float}}, "tensors": [{"name": str}]})
    """
    value = read_json(path)
    if (fault := shape_fault(value, shape, "the whole")) is not None:
        raise unusable_json(path, f"is not what this version writes ({fault})")
    return value  # type: ignore[no-any-return]


def unusable_json(path: Path, why: str) -> DataError:
    """The error for a JSON product that is unusable for the reason `why` (a verb phrase), with the next step."""
    return DataError(f"{path} {why}; delete it and run the command that makes it again", path=str(path))


def unwritable(path: Path, error: OSError) -> BackendError:
    """The error for a file that cannot be written, with what became of the version before and the next step."""
    reason, fix = error.strerror or str(error), "Make it a place that can be written to, or choose another"
    if error.errno in FULL:
        reason, fix = "the disk is full", "Free some space or choose another place"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        reason, fix = "a file is where a folder is needed", "Choose another place"
    elif error.errno == errno.EISDIR:
        reason, fix = "a folder is where a file is needed", "Remove it or choose another place"
    kept = "what was there before is intact" if path.is_file() else "nothing was written"
    return BackendError(f"cannot save {path}: {reason}; {kept}. {fix}, then run the same command again", path=str(path))


def shape_fault(value: Any, shape: Any, name: str) -> str | None:
    """What is wrong with the first value that is not as `shape` says; None where all are."""
    if isinstance(shape, tuple):
        faults = [shape_fault(value, one, name) for one in shape]
        return None if None in faults else faults[-1]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{name} is of type {type(value).__name__}, not a list"
        faults = [shape_fault(entry, shape[0], f"entry {index} of {name}") for index, entry in enumerate(value)]
        return next((fault for fault in faults if fault is not None), None)
    if not isinstance(shape, Mapping):
        return None if _is_a(value, shape) else f"{name} is of type {type(value).__name__}"
    if not isinstance(value, dict):
        return f"{name} is of type {type(value).__name__}, not an object"
    for key, inner in shape.items():
        if key is not ... and key not in value:
            return f"{name} has no {key!r}"
        for each in value if key is ... else (key,):
            if (fault := shape_fault(value[each], inner, repr(each))) is not None:
                return fault
    return None


def _is_a(value: object, kind: Any) -> bool:
    if isinstance(value, bool):
        return isinstance(kind, type) and kind is bool
    return isinstance(value, kind) or (isinstance(value, int) and isinstance(0.0, kind))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return False  # it is not writing while it asks, so an earlier process had the same number
    if os.name == "nt":
        return True  # asking would end it there
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # another user's
    return True


def as_os_error(error: BaseException) -> OSError | None:
    """The operating system's error behind `error`; libraries in Rust tell its number in their message."""
    if isinstance(error, OSError):
        return error
    match = re.search(r"\(os error (\d+)\)", str(error)) if isinstance(error, Exception) else None
    return None if match is None else OSError(int(match[1]), os.strerror(int(match[1])))
