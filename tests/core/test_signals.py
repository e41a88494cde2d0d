"""Signals stop the work at once, or are noted while it must finish a step; nothing swallows them."""

import contextlib
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bytecap.core import signals
from bytecap.core.errors import DataError, NumericsError, Stopped
from bytecap.core.signals import deferred, stop_at_once

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(autouse=True)
def handlers_are_restored() -> Iterator[None]:
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {n: signal.getsignal(n) for n in before} == before


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@BOTH
def test_at_once(number: int) -> None:
    """Stopped with the number of the signal, which no handler of errors sees."""
    with pytest.raises(Stopped, match="finished stages are kept") as caught, stop_at_once():
        try:
            send(number)
        except Exception:  # what readers of files do
            pytest.fail("a signal is no error")
    assert caught.value.signal_number == number and not isinstance(caught.value, Exception)


@BOTH
def test_signals_are_noted_inside_deferred(number: int) -> None:
    """Inside `deferred` the signal is only noted; at its end, or at once when the block looks, it is raised."""
    reached = []
    with pytest.raises(Stopped), stop_at_once(), deferred() as request:
        send(number)
        reached.append(request.number)
    with pytest.raises(Stopped, match="saved"), stop_at_once(), deferred() as request:
        send(number)
        raise Stopped(number, "saved")
    assert reached == [number]


def test_a_second_signal_does_not_wait() -> None:
    """Whoever asks twice is not kept waiting for a checkpoint."""
    with pytest.raises(Stopped), stop_at_once(), deferred():
        send(signal.SIGINT)
        send(signal.SIGTERM)
        pytest.fail("the second signal was deferred too")


@BOTH
@pytest.mark.parametrize("deferring", [False, True])
def test_an_import_is_finished_first(
    number: int, deferring: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised soon after it: C++ code that imports ends the process with an exception of Python."""
    (tmp_path / "slow_to_import.py").write_text(
        f"import os, time\nfor _ in range(2):\n    os.kill(os.getpid(), {int(number)})\ntime.sleep(0.2)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    whole = False
    with pytest.raises(Stopped), stop_at_once(), deferred() if deferring else contextlib.nullcontext():
        whole = importlib.import_module("slow_to_import").whole
        time.sleep(10)
        pytest.fail("the signal was lost")
    sys.modules.pop("slow_to_import", None)
    assert whole


def test_an_error_of_a_deferring_block_is_told() -> None:
    """A loss that is NaN is not hidden by a signal that came before it."""
    with pytest.raises(NumericsError), stop_at_once(), deferred():
        send(signal.SIGINT)
        raise NumericsError("NaN")


def test_swallowed_and_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A destructor swallows what is raised in it; the signal comes again, and again."""
    monkeypatch.setattr(signals, "_AGAIN_SECONDS", 0.05)
    tries: list[int] = []
    with pytest.raises(Stopped), stop_at_once():
        for _ in range(3):
            try:
                if not tries:
                    send(signal.SIGTERM)
                time.sleep(20)
            except BaseException:
                tries.append(1)
        time.sleep(20)
        pytest.fail("went on after three swallowed signals")
    assert len(tries) == 3
    time.sleep(0.1)  # the thread that raises again has seen the end


def test_swallowed_for_good() -> None:
    """Neither a result nor another error is the outcome after a signal."""
    with pytest.raises(Stopped), stop_at_once(), contextlib.suppress(BaseException):
        send(signal.SIGINT)
    with pytest.raises(Stopped) as caught, stop_at_once():
        try:
            send(signal.SIGINT)
        except BaseException:
            raise DataError("a damaged file") from None
    assert isinstance(caught.value.__cause__, DataError)


def test_other_threads_are_left_alone() -> None:
    """Python delivers signals to the main thread; elsewhere both do nothing."""
    done = []

    def work() -> None:
        with stop_at_once(), deferred() as request:
            done.append(request.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [None]
