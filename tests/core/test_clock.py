"""A clock goes on where it stood and does not count pauses."""

import time

from bytecap.core.clock import Clock


def test_pauses_and_restarts() -> None:
    """Seconds of before count, seconds inside a pause do not."""
    clock = Clock(100.0)
    with clock.paused():
        time.sleep(0.05)
    assert 100.0 <= clock.seconds < 100.04
