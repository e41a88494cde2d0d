"""Ctrl-C and SIGTERM: at once as `Stopped`, or noted while something must be saved first.

`Stopped` is raised wherever the program stands, so also inside code that swallows what it cannot name: a destructor, a
callback from C, a bare `except`. That is why it derives from BaseException, why it is raised again every second until
the block of `stop_at_once` is left, and why that block turns whatever else became of it into `Stopped`.

One place is spared: an import. Extension modules import further ones from C++, where an exception of Python ends the
process (PyTorch does), so a signal that comes while a module is imported is raised as soon as none is.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bytecap.core.errors import SIGNAL_NAMES, Stopped

_WATCHED = (signal.SIGINT, signal.SIGTERM)
_AGAIN_SECONDS, _IMPORTING_SECONDS = 1.0, 0.05
"""Time that cleaning up may take before the signal is raised again, and between two looks whether an import is over."""
_IMPORTER = "<frozen importlib._bootstrap>"

_Handler = Callable[[int, FrameType | None], None]


class StopRequest:
    """The signal that came in, if any."""

    number: int | None = None
    waits_for_import = False
    """The signal came while a module was being imported."""
    finished = False
    """No block waits for the signal any more."""


_unwatched = StopRequest()
_unwatched.finished = True
_current = _unwatched
"""The request of the innermost `stop_at_once`."""


@contextmanager
def stop_at_once() -> Iterator[StopRequest]:
    """Inside, either signal raises Stopped where the program stands, and no other way out is taken after one.

    Does nothing outside the main thread, where Python delivers no signals.
    """
    global _current
    request, outer = StopRequest(), _current
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    with _handled_by(_raise):
        _current = request
        try:
            yield request
        except Stopped:
            raise
        except BaseException as error:
            if request.number is not None:
                raise _stopped(request.number) from error
            raise
        else:
            if request.number is not None:
                raise _stopped(request.number)
        finally:
            request.finished, _current = True, outer


@contextmanager
def deferred() -> Iterator[StopRequest]:
    """Inside, a signal is only noted, and raised at the end; a second one counts as at once.

    The block looks at the request where it can stop well. Does nothing outside the main thread.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if request.number is not None:
            _raise(number, frame)
        request.number = number

    with _handled_by(note):
        yield request
    if request.number is not None:
        _raise(request.number, None)


@contextmanager
def _handled_by(handler: _Handler) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _WATCHED}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _raise(number: int, frame: FrameType | None) -> None:
    request = _current
    if request is not _unwatched:
        if request.finished:
            return
        request.waits_for_import = _imports(frame)
        if request.number is None:
            request.number = number
            _thread.start_new_thread(_raise_again, (request, number))  # `threading` takes locks that we may stand in
        if request.waits_for_import:
            return
    raise _stopped(number)


def _imports(frame: FrameType | None) -> bool:
    """Return whether a module is being imported where the program stands."""
    while frame is not None and frame.f_code.co_filename != _IMPORTER:
        frame = frame.f_back
    return frame is not None


def _raise_again(request: StopRequest, number: int) -> None:
    while True:
        time.sleep(_IMPORTING_SECONDS if request.waits_for_import else _AGAIN_SECONDS)
        if request.finished:
            return
        if main := threading.main_thread().ident:  # a real signal: it also ends a system call that waits
            signal.pthread_kill(main, number)


def _stopped(number: int) -> Stopped:
    name = SIGNAL_NAMES[number]
    return Stopped(number, f"stopped by {name}; finished stages are kept, run the same command to go on")
