"""Several processes train as one does: the reference is always the run of one process at the same global batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bytecap.core import distributed
from bytecap.core.distributed import World
from bytecap.core.errors import ConfigError
from bytecap.train.checkpoint import CHECKPOINT, load_checkpoint
from bytecap.train.hooks.squared_gradients import mean_squares
from bytecap.train.loop import METRICS
from bytecap.train.parallel import agreed_progress, decide, rows_of_rank
from tests.processes import STEPS, make_trainer, torchrun


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return [row["loss"] for row in rows]


def assert_like(folder: Path, reference: Path) -> None:
    """Same losses, weights, averages and squared gradients, to float tolerance."""
    assert losses(folder) == pytest.approx(losses(reference), abs=1e-4)
    one, other = (load_checkpoint(path / CHECKPOINT) for path in (folder, reference))
    assert one.progressed.tokens == other.progressed.tokens == STEPS * 8 * 16
    torch.testing.assert_close(one.weights, other.weights, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(one.other_weights, other.other_weights, atol=1e-4, rtol=1e-3)
    assert one.other_weights.keys() == {"ema", "swa"}
    squares = [mean_squares(saved.hooks["squared_gradients"]) for saved in (one, other)]
    assert squares[0] == pytest.approx(squares[1], rel=0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of one process in `alone`."""
    folder = tmp_path_factory.mktemp("parallel")
    make_trainer(folder, "alone").run()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_as_one_process_does(folder: Path, processes: int) -> None:
    """The losses of 30 steps, with clip, decay, accumulation and hooks of every kind; nothing is said."""
    done = torchrun(processes, "tests.processes", "train", folder)
    assert done.returncode == 0, done.stderr
    assert_like(folder / f"of_{processes}", folder / "alone")


@pytest.mark.slow
def test_a_killed_process_stops_the_run_which_goes_on_with_others(folder: Path) -> None:
    """Two processes of which one is killed; four, stopped by a signal that one of them got; one to the end."""
    killed = torchrun(2, "tests.processes", "kill", folder)
    assert killed.returncode != 0
    assert killed.stderr.count("another process of this run has ended or cannot be reached") == 1
    saved = load_checkpoint(folder / "killed" / CHECKPOINT)
    assert 11 <= saved.progressed.step <= 13
    names = {name.rpartition("/")[0] for name in saved.optimizer}
    assert names == set(saved.weights)  # also the state that was with the process that is gone

    stopped = torchrun(4, "tests.processes", "stop", folder)
    assert stopped.stderr.count("stopped by SIGTERM at step 20; saved, run the same command to go on") == 1
    make_trainer(folder, "killed").run()
    assert_like(folder / "killed", folder / "alone")


def test_rows_of_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strides that cover the batch once; a batch that cannot be shared is refused with both numbers and keys."""
    assert list(range(6))[rows_of_rank(6, None)] == list(range(6))
    rows = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "_world", World(rank, 3, rank))
        rows += list(range(6))[rows_of_rank(6, 2)]
        assert rows_of_rank(6, 6) == rows_of_rank(6, 1) == slice(rank, None, 3)
        with pytest.raises(ConfigError, match=r"train.batch is 8 and .* 3 processes \(WORLD_SIZE\)"):
            rows_of_rank(8, None)
        with pytest.raises(ConfigError, match=r"train.batch 18 over 3 .* 6 sequences, which train.micro_batch 4"):
            rows_of_rank(18, 4)
    assert sorted(rows) == list(range(6))


def test_one_process_agrees_with_itself() -> None:
    """What it gives comes back."""
    assert agreed_progress(0.25) == 0.25
    assert decide(15, False) == (15, False) and decide(None, True) == (None, True)
