"""What a model opens while it is made and asked: files, connections, programs.

In:   a Question.
Out:  Opened, of all probes of an audit together.

Python tells of what is opened through it (PEP 578), and the system of what is mapped into memory. A library written in
another language that reads a file without either is not seen.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bytecap
from bytecap.auditing.subject import Question

_OUTSIDE = (
    "socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system", "os.exec",
    "os.posix_spawn",
)  # fmt: skip
_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr/lib", "/usr/share", "/lib", "/lib64")


@dataclass
class Opened:
    """What was seen."""

    files: list[Path] = field(default_factory=list)
    """Files, those of installed libraries and of the system apart."""
    written: set[Path] = field(default_factory=set)
    """Files that were created or emptied while it was watched, so that nothing comes from elsewhere through them."""
    others: list[str] = field(default_factory=list)
    """Connections and programs."""


_MEMORY, _MAPPED = "opened", "mapped before"
_watchers: list[Callable[[str, tuple[Any, ...]], None]] = []
_hooked: list[bool] = []


def opened(question: Question) -> Opened:
    """What was seen so far in this audit, files that were mapped into memory included."""
    found = _noted(question)
    if _MAPPED in question.memory:
        for path in sorted(_mapped() - question.memory[_MAPPED]):
            _add(found, Path(path))
    return found


def _noted(question: Question) -> Opened:
    found: Opened = question.memory.setdefault(_MEMORY, Opened())
    return found


@contextmanager
def watching(question: Question) -> Iterator[None]:
    """Notes what is opened inside."""
    found = _noted(question)
    if _MAPPED not in question.memory:
        question.memory[_MAPPED] = _mapped()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            path = Path(os.path.realpath(os.fsdecode(arguments[0])))
            if isinstance(arguments[2], int) and arguments[2] & (os.O_TRUNC | os.O_EXCL):
                found.written.add(path)
            elif path not in found.written:
                _add(found, path)
        elif event.startswith(_OUTSIDE):
            found.others.append(f"{event} {arguments[0]!r}"[:200])

    if not _hooked:  # a hook cannot be taken away again, so there is one, which asks who watches now
        _hooked.append(True)
        sys.addaudithook(_tell)
    _watchers.append(note)
    try:
        yield
    finally:
        _watchers.remove(note)


def _tell(event: str, arguments: tuple[Any, ...]) -> None:
    for watcher in _watchers:
        watcher(event, arguments)


def _add(found: Opened, path: Path) -> None:
    path = Path(os.path.realpath(path))
    if path.is_file() and path not in found.files and not _installed(str(path)):
        found.files.append(path)


def _installed(path: str) -> bool:
    """Tell files of Python, its libraries and the system from all others."""
    roots = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts", "data")}
    roots |= {sys.prefix, sys.base_prefix, str(Path(bytecap.__file__).parent), *_SYSTEM}
    compiled = path.endswith((".so", ".pyc", ".py", ".nbi", ".nbc")) or ".so." in path
    return compiled or any(path.startswith(os.path.realpath(root) + os.sep) for root in roots if root and root != "/")


def _mapped() -> set[str]:
    """Files that are mapped into memory, where the system tells."""
    try:
        lines = Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
    except OSError:
        return set()
    return {line[line.index("/") :] for line in lines if "/" in line}
