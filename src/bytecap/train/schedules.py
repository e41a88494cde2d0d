"""Learning rate and momentum as functions of progress, and progress as a function of the clock.

Progress runs from 0 at the first step to exactly 1 at the last, whatever the speed of the machine.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

Ramp: TypeAlias = Literal["cosine", "linear"]


def progress_at(elapsed: float, budget: float, step_seconds: float) -> float:
    """Progress of the step about to run; 1 when it is the last that fits, and then no other may follow.

    `elapsed`, `budget` and `step_seconds` (an estimate of one step) are in one unit; an estimate of 0 means unknown.
    """
    if step_seconds <= 0:
        return 0.0
    steps_left = int((budget - elapsed) / step_seconds)
    return elapsed / (elapsed + (steps_left - 1) * step_seconds) if steps_left > 1 else 1.0


def progress_before_step(progress: float, steps_done: int) -> float:
    """Progress at the beginning of a step in a run that ends behind its last step: i / n in step i of n equal ones,
    where `progress` is i / (n - 1). Below 1, so a rate that falls to 0 is not 0 in the last step."""
    return progress * steps_done / (steps_done + progress) if progress > 0 else 0.0


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


def ramped(progress: float, *, start: float, end: float | None, begin: float, ramp: Ramp) -> float:
    """`start` until `begin`, then to `end` at progress 1, straight or along half a cosine. No end: `start`.

    Source: half a cosine from the beginning of the warmdown in openai/parameter-golf #309, a taper in #1729.
    """
    if end is None or progress <= begin:
        return start
    through = (progress - begin) / (1.0 - begin)
    if ramp == "cosine":
        through = (1.0 - math.cos(math.pi * through)) / 2
    return start + (end - start) * through
