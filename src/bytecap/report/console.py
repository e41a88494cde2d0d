"""What a person sees while a run works: on a terminal one live line for each stage, else plain lines; all in `log.txt`.

In:   updates and notes of a stage.
Out:  stderr and a log file; stdout stays free for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bytecap.core.files import append
from bytecap.core.terminal import visible_line

_PLAIN_SECONDS = 10.0
"""Seconds between lines where there is no terminal."""
_LIVE_SECONDS = 0.1


class Console:
    """A Progress for stage after stage."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty() and not quiet
        self._log: Path | None = None
        self._stage = ""
        self._begin = self._shown = 0.0
        self._line: Any = None
        self._last = ""

    def log_to(self, path: Path) -> None:
        """Write notes to `path` too from now on."""
        append(path, "")
        self._log = path

    @contextmanager
    def stage(self, name: str) -> Iterator[Console]:
        """One stage at work; its last state stays on the screen."""
        self._stage, self._begin, self._shown, self._last = name, time.perf_counter(), 0.0, ""
        if self._live:
            self._start_line(name)
        try:
            yield self
        except BaseException:
            self._end_line()
            raise
        seconds = time.perf_counter() - self._begin
        if self._line is not None:
            self._line.update(0, completed=100.0)
        self._end_line()
        self._write(
            f"{name:<8} done in {seconds:.1f} s" + (f"  {self._last}" if self._last else ""), show=not self._live
        )

    def update(self, done: float, total: float, text: str = "") -> None:
        """Redraw the live line, or print one now and then."""
        now = time.perf_counter()
        self._last = text = visible_line(text)
        if now - self._shown < (_LIVE_SECONDS if self._live else _PLAIN_SECONDS):
            return
        if self._shown == 0.0 and not self._live:
            self._shown = now  # the first plain line comes after the first interval
            return
        self._shown = now
        percent = min(100.0, 100.0 * done / total) if total else 0.0
        if self._line is not None:
            self._line.update(0, completed=percent, text=text)
        else:
            self._write(f"{self._stage:<8} {percent:3.0f} %  {text}")

    def note(self, text: str) -> None:
        """A line above the live one."""
        self._write(f"{self._stage:<8} {text}")

    def _write(self, line: str, *, show: bool = True) -> None:
        line = visible_line(line)
        if self._log is not None:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
            append(self._log, f"{stamp} {line}\n")
        if self._quiet or not show:
            return
        if self._line is not None:
            self._line.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def _start_line(self, name: str) -> None:
        import rich.console  # noqa: PLC0415  (only a terminal needs it)
        import rich.progress  # noqa: PLC0415

        self._line = rich.progress.Progress(
            rich.progress.TextColumn("{task.description:<8}"),
            rich.progress.BarColumn(bar_width=24),
            rich.progress.TaskProgressColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("{task.fields[text]}", markup=False),
            console=rich.console.Console(stderr=True),
        )
        self._line.add_task(name, total=100.0, text="")
        self._line.start()

    def _end_line(self) -> None:
        if self._line is not None:
            self._line.stop()
            self._line = None
