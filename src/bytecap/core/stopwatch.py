"""A stopwatch that can be saved and continued."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds spent, across restarts: `already` are the seconds of earlier processes."""

    def __init__(self, already: float = 0.0) -> None:
        self._already = already
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._already + time.perf_counter() - self._start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the stopwatch inside the block."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._start += time.perf_counter() - begin
