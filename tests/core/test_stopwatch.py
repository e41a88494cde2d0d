"""A stopwatch goes on where it stood and does not count pauses."""

import time

from bytecap.core.stopwatch import Stopwatch


def test_pauses_and_restarts() -> None:
    """Seconds of before count, seconds inside a pause do not."""
    stopwatch = Stopwatch(100.0)
    with stopwatch.paused():
        time.sleep(0.05)
    assert 100.0 <= stopwatch.seconds < 100.04
