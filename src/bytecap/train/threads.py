"""How many threads a training step takes on a CPU that other programs use too.

In:   seconds of each step, and the processor seconds that it got.
Out:  the number of threads of the next step: all, or one.

A step is thousands of short loops, each of which ends with its last thread. Where another program holds a core, all
threads wait for the one that has none, and they wait busily: beside one busy program two threads were 12 times slower
than one (docs/lab_notes.md). So where the threads did not get their cores twice in a row, one thread is tried, and the
quicker kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from bytecap.core.distributed import world
from bytecap.core.progress import Progress
from bytecap.core.stopwatch import Stopwatch
from bytecap.train.config import TrainConfig

HELD_SHARE = 0.8
"""Share of the processor seconds of all threads that a step gets at least where nothing else holds a core."""
KEPT_SECONDS, KEPT_STEPS = 10.0, 20.0
"""A choice is kept for so many seconds, and for so many of the slower choice's steps: trials cost a tenth at most."""
LATE = 0.9
"""Progress after which a run with one thread stays at it, so that no slow step passes the budget."""


def threads_of_run(config: TrainConfig, device: torch.device) -> ThreadChoice:
    """A choice only where the clock decides how far a run comes: other numbers of threads round in another way."""
    alone = config.steps is None and device.type == "cpu" and world().size == 1
    return ThreadChoice(torch.get_num_threads() if alone else 1)


class ThreadChoice:
    """All threads until they are held up, then one for as long as that is quicker."""

    def __init__(self, most: int) -> None:
        self.most = self.count = most
        self._held_up = False
        """True after a step with all threads that did not get their cores."""
        self._trial = False
        """True while the next step, with one thread, is to be compared with the last one with all."""
        self._seconds = 0.0
        """Seconds of the last step with all threads."""
        self._kept_until = 0.0

    def run(self, step: Callable[[float], None], progress: float, stopwatch: Stopwatch, console: Progress) -> bool:
        """Do a step, and choose by what it took PyTorch's threads for the next; True where they are others now."""
        begin, processor_begin, count = stopwatch.seconds, time.process_time(), self.count
        step(progress)
        now, processor = stopwatch.seconds, time.process_time() - processor_begin
        if said := self.after_step(now, now - begin, processor, near_end=progress > LATE):
            console.note(said)
        if self.count == count:
            return False
        torch.set_num_threads(self.count)
        return True

    def after_step(self, now: float, seconds: float, processor_seconds: float, *, near_end: bool = False) -> str:
        """Choose for the next step; what there is to say of it. `near_end`: too late to try all threads again.

        `now` is the time of the run's stopwatch; all are in seconds.
        """
        if self.count > 1:
            before, self._held_up = self._held_up, processor_seconds < HELD_SHARE * self.count * seconds
            self._seconds = seconds
            if before and self._held_up and now >= self._kept_until:
                self.count, self._trial, self._held_up = 1, True, False
        elif self._trial:
            self._trial = False
            self._kept_until = now + max(KEPT_SECONDS, KEPT_STEPS * max(seconds, self._seconds))
            if seconds >= self._seconds:
                self.count = self.most
            else:
                return f"other programs hold cores: one thread is quicker than {self.most} for now"
        elif now >= self._kept_until and not near_end:
            self.count = self.most
        return ""
