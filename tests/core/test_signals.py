"""Signals stop the work at once, or are noted while it must finish a step."""

import os
import signal

import pytest

from bytecap.core.errors import Stopped
from bytecap.core.signals import deferred, stop_at_once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_at_once_and_deferred(number: int) -> None:
    """Inside `deferred` the signal is only noted; outside it raises Stopped with its number."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        stop_at_once()
        with deferred() as request:
            os.kill(os.getpid(), number)
            assert request.number == number
        with pytest.raises(Stopped) as caught:
            os.kill(os.getpid(), number)
        assert caught.value.signal_number == number
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
