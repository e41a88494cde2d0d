"""Writing files so that a crash or a full disk leaves the previous version intact."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytecap.core.errors import BackendError, DataError


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then fsync and rename it over `path`.

    On any failure the temporary file is removed and `path` is what it was; a full disk or a folder that cannot be
    written to becomes a BackendError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()  # libraries that fill it have errors of their own for a place that cannot be written to
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot_save(path, error) from error
        raise


def make_folder(path: Path) -> None:
    """With its parents; BackendError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_save(path, error) from error


def refuse_place(path: Path) -> None:
    """BackendError, before any work, where a file at `path` could not be written."""
    there = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not there.is_dir():
        raise _cannot_save(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(there, os.W_OK | os.X_OK):
        raise _cannot_save(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def write_bytes(path: Path, data: bytes) -> None:
    """Atomically write `data`."""
    write_atomic(path, lambda temporary: _write(temporary, data))


def append(path: Path, text: str) -> None:
    """Add to the end of a file that may not be there yet; BackendError where that cannot be."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _cannot_save(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Atomically write `value` as indented JSON."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The JSON in `path`; DataError when it is missing or not JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", path=str(path)) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); delete it and run the verb that makes it again") from None


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot_save(path: Path, error: OSError) -> BackendError:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        reason = "the disk is full"
    elif error.errno in (errno.EEXIST, errno.ENOTDIR):
        reason = "a file is where a folder is needed"
    kept = "the previous version is intact" if path.exists() else "nothing was written"
    return BackendError(
        f"cannot save {path}: {reason}; {kept}. Make room or choose another --out, then run the same command again",
        path=str(path),
    )
