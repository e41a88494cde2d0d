"""Writing files so that a crash or a full disk leaves the previous version intact."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytecap.core.errors import BackendError, DataError


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then fsync and rename it over `path`.

    On any failure the temporary file is removed and `path` is what it was; a full disk becomes a BackendError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _save_error(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Atomically write `data`."""
    write_atomic(path, lambda temporary: _write(temporary, data))


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


def _save_error(path: Path, error: OSError) -> BackendError:
    reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else str(error)
    kept = "the previous version is intact" if path.exists() else "nothing was written"
    return BackendError(
        f"cannot save {path}: {reason}; {kept}. Free some space or choose another --out, then run the same command "
        "again",
        path=str(path),
    )
