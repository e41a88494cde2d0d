"""What the process that reads an untrusted file may do: no network, no other processes, no files but its own.

A second line of defence behind the list of what may be unpickled. Python's audit hooks exist everywhere, limits on
memory and time where the system has them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

_REFUSED = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile",
    "os.kill", "os.chmod", "os.chown", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate",
    "shutil.", "ctypes.", "urllib.", "ftplib.", "smtplib.", "webbrowser.", "pty.", "winreg.",
)  # fmt: skip
"""Beginnings of the names of audit events that reading tensors has no need of."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_SPARE_BYTES = 2 << 30
_SPARE_SECONDS = 120
_BYTES_PER_SECOND = 5_000_000
"""A file that takes longer than this and `_SPARE_SECONDS` is not being read but computes something."""


def confine(folder: Path, most_bytes: int) -> None:
    """From now on this process may write into `folder` alone, and needs memory and time for `most_bytes`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends this process
    with contextlib.suppress(ImportError):
        _limit(most_bytes)
    inside = str(folder.resolve()) + os.sep

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and not _is_inside(path, inside):
                raise PermissionError(f"a file that is being converted may not write to {path!r}")
        elif event.startswith(_REFUSED):
            raise PermissionError(f"a file that is being converted may not call {event}")

    sys.dont_write_bytecode = True
    sys.addaudithook(refuse)


def _is_inside(path: Any, folder: str) -> bool:
    return isinstance(path, (str, bytes)) and os.path.realpath(os.fsdecode(path)).startswith(folder)


def _limit(most_bytes: int) -> None:
    import resource  # noqa: PLC0415  (not on Windows)

    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": 2 * most_bytes + (1 << 20),
        "RLIMIT_DATA": 3 * most_bytes + _SPARE_BYTES,
        "RLIMIT_CPU": _SPARE_SECONDS + most_bytes // _BYTES_PER_SECOND,
    }
    for name, most in limits.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):  # one the system has not, or a lower one holds
            resource.setrlimit(getattr(resource, name), (most, most))
