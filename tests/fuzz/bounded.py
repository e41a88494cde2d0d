"""One try in a process of its own, with bounds on time, memory and disk.

In:   a function, and where its output goes.
Out:  an Outcome: the exit codes it came to, or what went wrong.

The process is forked, so that torch is imported once. Processor time is bounded rather than wall time: a busy machine
makes no finding.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CPU_SECONDS, WALL_SECONDS = 20, 120
MEMORY_BYTES, DISK_BYTES = 1 << 30, 1 << 28
"""Address space beyond what the parent has mapped, and the longest file that may be written."""
EXPECTED_CODES = (0, 2, 3, 4, 5, 7)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Outcome:
    """How one try ended."""

    codes: tuple[int, ...]
    """Exit code of each command that was run."""
    finding: str = ""
    """What broke the property; empty when nothing did."""


class Finding(AssertionError):
    """A target saw something that must not be."""


def run_bounded(work: Callable[[], list[int]], output: Path) -> Outcome:
    """Fork, run `work` under the bounds with its output in a file, and judge how it ended."""
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(work, output, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer, in_time = _read_until(pipe.fileno(), time.monotonic() + WALL_SECONDS)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return _judge(answer, status, in_time, output)


def _judge(answer: bytes, status: int, in_time: bool, output: Path) -> Outcome:
    if not in_time:
        return Outcome((), f"no end within {WALL_SECONDS} s of wall time")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name
        what = f"more than {CPU_SECONDS} s of processor time" if name in ("SIGXCPU", "SIGKILL") else f"died of {name}"
        return Outcome((), what)
    if not answer:
        return Outcome((), f"left by itself with status {os.WEXITSTATUS(status)}")
    value = json.loads(answer)
    codes, finding = tuple(value["codes"]), value["finding"]
    strange = [code for code in codes if code not in EXPECTED_CODES]
    if not finding and strange:
        finding = f"exit code {strange[0]}: {output.read_text('utf-8', 'replace')[-2000:]}"
    if not finding and (found := _CONTROL.search(output.read_text("utf-8", "replace"))):
        finding = f"control character {found[0]!r} reaches the terminal"
    return Outcome(codes, finding)


def _read_until(descriptor: int, deadline: float) -> tuple[bytes, bool]:
    """Everything from a pipe, and whether its end came before the deadline."""
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return b"".join(parts), False
        part = os.read(descriptor, 1 << 16)
        if not part:
            return b"".join(parts), True
        parts.append(part)


def _child(work: Callable[[], list[int]], output: Path, writer: int) -> None:
    """Never returns: whatever happens is written to the pipe."""
    faulthandler.disable()  # a crash is told once, by the parent
    codes: list[int] = []
    finding = ""
    try:
        with _redirected(output):
            _bound()
            codes = work()
    except BaseException:
        finding = traceback.format_exc()
    with contextlib.suppress(BaseException):
        os.write(writer, json.dumps({"codes": codes, "finding": finding}).encode())
    os._exit(0)


def _bound() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, DISK_BYTES))
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS, used + CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def _redirected(output: Path) -> Iterator[None]:
    """Both streams into one file, below Python too: libraries write to the descriptors."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
    sys.stdout = sys.stderr = stream
    try:
        yield
    finally:
        with contextlib.suppress(BaseException):
            stream.flush()
