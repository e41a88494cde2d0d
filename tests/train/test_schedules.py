"""Progress ends at exactly 1 whatever a step takes, and rates follow it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.train.schedules import momentum_at, progress_at, progress_before_step, ramped, rate_multiplier


@pytest.mark.slow
@given(st.floats(0.1, 50.0), st.floats(0.001, 0.09), st.randoms(use_true_random=False))
def test_last_step_is_at_the_end(budget: float, step: float, random: object) -> None:
    """Steps that differ by a tenth from the mean: the last progress is 1, and the budget is used up to within two.

    The last begins with less than two estimated steps left (at most 2.2), the one before it with two (at least 1.8).
    """
    elapsed, estimate, seen = 0.0, 0.0, [0.0]
    while seen[-1] < 1.0:
        seen.append(progress_at(elapsed, budget, estimate))
        spent = step * random.uniform(0.9, 1.1)  # type: ignore[attr-defined]
        elapsed += spent
        estimate = spent if estimate == 0.0 else 0.9 * estimate + 0.1 * spent
    assert budget - (2.2 - 0.9 + 1e-6) * step <= elapsed <= max(budget, 2 * step) + (2 * 1.1 - 1.8 + 1e-6) * step
    assert all(0.0 <= p <= 1.0 for p in seen)


def test_exact_in_steps() -> None:
    """With steps as the clock, progress is i / (n - 1)."""
    assert [progress_at(i, 5, 1.0) for i in range(6)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert (progress_at(0, 1, 1.0), progress_at(3.0, 10.0, 0.0)) == (1.0, 0.0)


def test_the_rate_is_a_trapezoid() -> None:
    """Trapezoid: up, flat, down to the floor."""
    values = [rate_multiplier(p, warmup=0.1, warmdown=0.5, floor=0.2) for p in (0.0, 0.05, 0.1, 0.5, 0.75, 1.0)]
    assert values == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.6, 0.2])
    assert rate_multiplier(1.0, warmup=0.0, warmdown=0.0, floor=0.2) == 1.0
    assert [momentum_at(p, start=0.8, end=0.9, warmup=0.5) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(
        [0.8, 0.85, 0.9, 0.9]
    )


def test_ramps_and_tapers() -> None:
    """Half a cosine: a quarter of the way is sin²(π/8) of the change; a taper to half is a straight line."""
    values = [ramped(p, start=0.02, end=0.08, begin=0.6, ramp="cosine") for p in (0.0, 0.6, 0.7, 0.8, 1.0)]
    assert values == pytest.approx([0.02, 0.02, 0.02 + 0.06 * 0.1464466, 0.05, 0.08])
    values = [ramped(p, start=0.1, end=0.05, begin=0.7, ramp="linear") for p in (0.5, 0.7, 0.85, 1.0)]
    assert values == pytest.approx([0.1, 0.1, 0.075, 0.05])
    assert ramped(0.9, start=0.02, end=None, begin=0.6, ramp="cosine") == 0.02


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_beginning_of_each_step(steps: int) -> None:
    """Step by step: i of n equal parts lie before step i, so the last begins one part before the end."""
    found = [progress_before_step(progress_at(i, steps, 1.0), i) for i in range(steps)]
    assert found == pytest.approx([i / steps for i in range(steps)])
