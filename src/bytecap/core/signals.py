"""Ctrl-C and SIGTERM: at once as an error, or noted while something must be saved first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bytecap.core.errors import SIGNAL_NAMES, Stopped

_WATCHED = (signal.SIGINT, signal.SIGTERM)


def _raise(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number, f"stopped by {SIGNAL_NAMES[number]}; finished stages are kept, run the same command to go on")


def stop_at_once() -> None:
    """From now on either signal raises Stopped where the program stands."""
    for number in _WATCHED:
        signal.signal(number, _raise)


class StopRequest:
    """The signal that came in, if any."""

    number: int | None = None


@contextmanager
def deferred() -> Iterator[StopRequest]:
    """Inside, a signal is only noted; a second one counts as at once. Does nothing outside the main thread."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if request.number is not None:
            _raise(number, frame)
        request.number = number

    before = {number: signal.signal(number, note) for number in _WATCHED}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
