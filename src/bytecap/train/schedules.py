"""Learning rate and momentum as functions of progress, and progress as a function of the clock.

Progress runs from 0 at the first step to exactly 1 at the last, whatever the speed of the machine.
"""

from __future__ import annotations

import math


def progress_at(elapsed: float, budget: float, step_seconds: float) -> float:
    """Progress of the step about to run; 1 when it is the last that fits, and then no other may follow.

    `elapsed`, `budget` and `step_seconds` (an estimate of one step) are in one unit; an estimate of 0 means unknown.
    """
    if step_seconds <= 0:
        return 0.0
    steps_left = int((budget - elapsed) / step_seconds)
    return elapsed / (elapsed + (steps_left - 1) * step_seconds) if steps_left > 1 else 1.0


def rate_multiplier(progress: float, *, warmup: float, warmdown: float, floor: float) -> float:
    """Rises linearly over the first `warmup` of the run, stays at 1, falls linearly over the last `warmdown` to
    `floor`."""
    if progress < warmup:
        return progress / warmup
    if warmdown > 0 and progress > 1.0 - warmdown:
        return floor + (1.0 - floor) * (1.0 - progress) / warmdown
    return 1.0


def momentum_at(progress: float, *, start: float, end: float, warmup: float) -> float:
    """Linear from `start` to `end` over the first `warmup` of the run."""
    return end if progress >= warmup else start + (end - start) * progress / warmup


def decay_at(progress: float, *, start: float, end: float | None, warmdown: float) -> float:
    """`start` until the warmdown, then along half a cosine to `end`; openai/parameter-golf #309. No end: `start`."""
    if end is None or warmdown <= 0 or progress <= 1.0 - warmdown:
        return start
    through = (progress - (1.0 - warmdown)) / warmdown
    return start + (end - start) * (1.0 - math.cos(math.pi * through)) / 2
