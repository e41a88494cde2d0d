"""One thread where others hold cores and it is quicker, all where they have theirs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bytecap.train.threads import KEPT_SECONDS, KEPT_STEPS, ThreadChoice, threads_of_run
from tests.processes import make_trainer


def drive(choice: ThreadChoice, until: float, all_seconds: float, one_seconds: float, share: float) -> list[int]:
    """Threads of each step on a machine where steps take so long; `share` of their cores is what all threads get."""
    now, taken = 0.0, []
    while now < until:
        taken.append(choice.count)
        seconds = one_seconds if choice.count == 1 else all_seconds
        now += seconds
        choice.after_step(now, seconds, seconds * (1.0 if choice.count == 1 else share * choice.count))
    return taken


def test_a_quiet_machine_keeps_all() -> None:
    """Not one step with one thread."""
    assert set(drive(ThreadChoice(2), 60.0, 0.1, 0.2, 0.95)) == {2}


def test_a_busy_machine_gets_one() -> None:
    """All are tried again from time to time, for no more than a tenth of the seconds."""
    taken = drive(ThreadChoice(2), 600.0, 5.0, 0.4, 0.5)
    assert taken[:4] == [2, 2, 1, 1] and taken.count(2) > 5
    assert taken.count(2) * 5.0 < 600.0 * 2 / KEPT_STEPS + 10.0


def test_held_up_and_quicker_all_the_same() -> None:
    """One is tried, loses, and is not tried again before the time."""
    taken = drive(ThreadChoice(4), 100.0, 0.1, 0.3, 0.6)
    assert 1 <= taken.count(1) <= 100.0 / KEPT_SECONDS + 1


def test_a_machine_that_becomes_quiet() -> None:
    """All come back, and stay."""
    choice = ThreadChoice(2)
    drive(choice, 30.0, 5.0, 0.4, 0.5)
    choice.count, choice._kept_until = 1, 5.0
    assert set(drive(choice, 60.0, 0.1, 0.2, 0.95)[-100:]) == {2}


def test_what_is_said_and_when_it_is_too_late() -> None:
    """A sentence when one wins; near the end nothing is tried that could be slow."""
    choice = ThreadChoice(2)
    assert choice.after_step(0.3, 0.3, 0.3) == "" and choice.count == 2  # the first step of a run starts the threads
    assert choice.after_step(0.4, 0.1, 0.19) == "" and choice.count == 2
    assert choice.after_step(2.0, 1.6, 1.6) == "" and choice.count == 2
    assert choice.after_step(5.0, 3.0, 3.0) == "" and choice.count == 1
    assert choice.after_step(5.4, 0.4, 0.4) == "other programs hold cores: one thread is quicker than 2 for now"
    assert choice.after_step(200.0, 0.4, 0.4, near_end=True) == "" and choice.count == 1
    assert choice.after_step(200.0, 0.4, 0.4) == "" and choice.count == 2


@pytest.mark.parametrize(("budget", "chosen"), [({"steps": 3}, 1), ({"steps": None, "seconds": 0.2}, 2)])
def test_only_where_the_clock_decides(budget: dict[str, Any], chosen: int, tmp_path: Path) -> None:
    """A run of so many steps rounds in one way; afterwards PyTorch has the threads of before."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        trainer = make_trainer(tmp_path, "run", micro_batch=None, **budget)
        assert threads_of_run(trainer.config, trainer.device).most == chosen
        trainer.run()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
