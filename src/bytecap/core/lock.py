"""One writer at a time for a folder, by a lock that the operating system releases however its holder ends.

In:   a folder.
Out:  BackendError for everybody who comes second, naming the process that holds it. Readers need no lock.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bytecap.core.errors import BackendError
from bytecap.core.files import make_folder, parse_json, remove_stale, unwritable

LOCK = ".lock"
"""The file that is locked. It says who holds it, is emptied afterwards and never removed, as removing it would let two
processes hold locks on two files of this name."""
_HELD = (errno.EACCES, errno.EAGAIN)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be, for this process alone, rid of what killed processes left half written.

    BackendError (exit code 7, for it helps to wait, as with a full disk) when another process holds it. Where the
    system or the file system has no `flock`, nothing is locked and no process is refused.
    """
    make_folder(folder)
    try:
        file = (folder / LOCK).open("a+b", buffering=0)
    except OSError as error:
        raise unwritable(folder / LOCK, error) from error
    with file:
        held = _lock(file, folder)
        if held:
            _write_holder(file)
        remove_stale(folder)
        try:
            yield
        finally:
            if held:
                with contextlib.suppress(OSError):
                    file.truncate(0)


def _lock(file: BinaryIO, folder: Path) -> bool:
    """Lock `file` and tell whether it is locked now; BackendError when another process has locked it."""
    try:
        import fcntl  # noqa: PLC0415  (Windows has none)
    except ImportError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise _is_held(file, folder) from None
        if error.errno in _UNSUPPORTED:
            return False
        raise unwritable(folder / LOCK, error) from error
    return True


def _write_holder(file: BinaryIO) -> None:
    """Write who holds the lock into its file; a full disk is ignored here."""
    holder = {"process": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    with contextlib.suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(holder).encode())


def _is_held(file: BinaryIO, folder: Path) -> BackendError:
    file.seek(0)
    try:
        holder: Any = parse_json(file.read())
        process, host, since = int(holder["process"]), str(holder["host"]), str(holder["since"])
    except (OSError, ValueError, TypeError, KeyError):
        return BackendError(f"{folder} is being written by another process; wait or choose another --out")
    where = "" if host == platform.node() else f" on {host}"
    return BackendError(
        f"{folder} is being written by process {process}{where} since {since}; wait or choose another --out",
        path=str(folder), process=process, host=host, since=since,
    )  # fmt: skip
