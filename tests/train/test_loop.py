"""Training learns, ends on its budget, goes on where it stopped, and stops cleanly."""

import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from bytecap.core.errors import DataError, NumericsError, Stopped
from bytecap.core.products import has_bfloat16, operand_type
from bytecap.core.progress import Silent
from bytecap.text.shards import ShardWriter, TokenStream
from bytecap.train import arithmetic
from bytecap.train.checkpoint import CHECKPOINT, load_checkpoint, trained_model
from bytecap.train.config import TrainConfig
from bytecap.train.loop import METRICS, Trainer, TrainingJob
from bytecap.train.optimizers import OptimizerConfig
from tests.model.test_gpt import SPEC


@pytest.fixture
def stream(tmp_path: Path) -> TokenStream:
    """Text with a pattern: each token is followed by the next."""
    writer = ShardWriter(tmp_path, "train", 1 << 20)
    start = np.random.default_rng(0).integers(2, 50, 300)
    for s in start.tolist():
        writer.write([1, *((s + i) % 48 + 2 for i in range(20))])
    writer.close()
    return TokenStream(writer.paths)


def trainer(folder: Path, stream: TokenStream, made_from: str = "x", progress: object = None, **config: Any) -> Trainer:
    folder.mkdir(exist_ok=True)
    values = {"steps": 30, "batch": 4, "context": 16, "checkpoint_seconds": 1e9, **config}
    job = TrainingJob(
        config=TrainConfig(**values), spec=SPEC, stream=stream, bos=1, seed=0, tokens="t", made_from=(made_from,)
    )
    return Trainer(job, folder, torch.device("cpu"), progress or Silent())  # type: ignore[arg-type]


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_learns_and_finishes(tmp_path: Path, stream: TokenStream) -> None:
    """The loss falls, the last step is at the floor, the checkpoint is marked finished and holds weights only."""
    done = trainer(tmp_path / "a", stream, steps=60).run()
    metrics = rows(tmp_path / "a")
    assert (done.step, done.tokens, done.finished) == (60, 60 * 64, True)
    assert metrics[0]["loss"] > 3.5 and metrics[-1]["loss"] < 2.0
    assert metrics[-1]["rate"] == 0.0 and metrics[0]["rate"] > 0
    assert load_checkpoint(tmp_path / "a" / CHECKPOINT).optimizer == {}
    assert trained_model(tmp_path / "a")[1].progressed == done


def test_the_last_step_moves(tmp_path: Path, stream: TokenStream) -> None:
    """Rates are those of a line that ends one step behind the last; without the setting the last step is at 0."""
    optimizer = OptimizerConfig(last_step_moves=True, matrix_lr=1.0, warmdown=0.5)
    trainer(tmp_path / "a", stream, steps=10, optimizer=optimizer).run()
    expected = [1.0] * 6 + [0.8, 0.6, 0.4, 0.2]
    assert [row["rate"] for row in rows(tmp_path / "a")] == pytest.approx(expected)
    clock = trainer(tmp_path / "b", stream, steps=None, seconds=0.5, optimizer=optimizer)
    clock.run()
    taken = rows(tmp_path / "b")
    assert taken[-1]["rate"] == pytest.approx(min(1.0, 2 / len(taken)))


@pytest.mark.parametrize("seed", [0, 23])
def test_uneven_steps_stay_within_the_seconds(tmp_path: Path, stream: TokenStream, seed: int) -> None:
    """Steps that vary by a half do not pass the budget (without a reserve those of 23 do); nearly all of it is used."""
    random = np.random.default_rng(seed)
    stopwatch = SimpleNamespace(seconds=0.0, paused=nullcontext)
    clock = trainer(tmp_path / "a", stream, steps=None, seconds=40.0)
    mean_loss = clock._mean_loss

    def take(*given: Any) -> torch.Tensor:
        stopwatch.seconds += random.uniform(1.0, 1.5)
        return mean_loss(*given)

    clock.stopwatch, clock._mean_loss = stopwatch, take  # type: ignore[assignment, method-assign]
    assert 36 < clock.run().seconds <= 40


def test_accumulation_equals_the_whole_batch(tmp_path: Path, stream: TokenStream) -> None:
    """Gradients of parts add up to those of the batch."""
    weights = []
    for micro in (1, 2, 4):
        folder = tmp_path / str(micro)
        trainer(folder, stream, steps=2, micro_batch=micro).run()
        weights.append(load_checkpoint(folder / CHECKPOINT).weights)
    for other in weights[1:]:
        for name, value in weights[0].items():
            torch.testing.assert_close(other[name], value, atol=2e-3, rtol=1e-3)


class SignalAt(Silent):
    """Sends a signal to this process in the middle of training."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def update(self, done: float, total: float, text: str = "") -> None:
        if done == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_continuing_gives_the_same_model(tmp_path: Path, stream: TokenStream, number: int) -> None:
    """Stopped at step 11 and run again: the same weights and the same metrics as without the stop."""
    trainer(tmp_path / "a", stream).run()
    with pytest.raises(Stopped, match="at step 11; saved") as caught:
        trainer(tmp_path / "b", stream, progress=SignalAt(11, number)).run()
    assert caught.value.signal_number == number
    saved = load_checkpoint(tmp_path / "b" / CHECKPOINT)
    assert saved.progressed.step == 11 and not saved.progressed.finished
    with pytest.raises(DataError, match="has not finished"):
        trained_model(tmp_path / "b")
    trainer(tmp_path / "b", stream).run()
    one, other = (load_checkpoint(tmp_path / f / CHECKPOINT).weights for f in "ab")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert [r["loss"] for r in rows(tmp_path / "a")] == [r["loss"] for r in rows(tmp_path / "b")]


@pytest.mark.parametrize("native", [True, False])
def test_products_of_bfloat16(
    tmp_path: Path, stream: TokenStream, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They train about as well and the state says what they were; a processor without them says so and goes on."""
    if native and not has_bfloat16():
        pytest.skip("this processor multiplies no bfloat16")
    monkeypatch.setattr(arithmetic, "has_bfloat16", lambda: native)
    notes: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "note", notes.append)
    plain = trainer(tmp_path / "a", stream, steps=40).run()
    done = trainer(tmp_path / "b", stream, steps=40, progress=progress, matmul_precision="bfloat16").run()
    assert plain.matmul_precisions == ("float32",) and operand_type() == torch.float32
    assert done.matmul_precisions == ("bfloat16" if native else "float32",)
    assert bool(notes) is not native and (done.loss != plain.loss) is native
    assert done.loss == pytest.approx(plain.loss, abs=0.1)


def test_finished_is_not_trained_again(tmp_path: Path, stream: TokenStream) -> None:
    """A second run changes no file."""
    trainer(tmp_path / "a", stream).run()
    before = (tmp_path / "a" / CHECKPOINT).read_bytes()
    trainer(tmp_path / "a", stream).run()
    assert (tmp_path / "a" / CHECKPOINT).read_bytes() == before


def test_lost_steps_are_made_again(tmp_path: Path, stream: TokenStream) -> None:
    """Lines of steps after the checkpoint are dropped, as after a hard kill."""
    with pytest.raises(Stopped):
        trainer(tmp_path / "a", stream, progress=SignalAt(5, signal.SIGTERM)).run()
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "loss": 0}\n{"step": 7, "lo')
    trainer(tmp_path / "a", stream).run()
    assert [r["step"] for r in rows(tmp_path / "a")] == list(range(1, 31))


def test_lines_without_a_checkpoint_are_dropped(tmp_path: Path, stream: TokenStream) -> None:
    """After a hard kill before the first checkpoint training begins again, and so does its curve."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / METRICS).write_text('{"step": 1, "loss": 0}\n{"step": 2, "lo')
    trainer(tmp_path / "a", stream).run()
    assert [r["step"] for r in rows(tmp_path / "a")] == list(range(1, 31))


def test_seconds_budget(tmp_path: Path, stream: TokenStream) -> None:
    """A wall-clock budget ends with the rate at its floor."""
    optimizer = OptimizerConfig(floor=0.25, matrix_lr=1.0)
    done = trainer(tmp_path / "a", stream, steps=None, seconds=1.0, optimizer=optimizer).run()
    assert done.progress == 1.0 and rows(tmp_path / "a")[-1]["rate"] == 0.25


def test_not_finite(tmp_path: Path, stream: TokenStream) -> None:
    """A loss that explodes stops the run with step, rate and the last good checkpoint."""
    with pytest.raises(Stopped):
        trainer(tmp_path / "a", stream, progress=SignalAt(2, signal.SIGTERM)).run()
    broken = trainer(tmp_path / "a", stream)
    with torch.no_grad():
        broken.model.embedding.fill_(float("nan"))
    with pytest.raises(NumericsError, match=r"loss is nan at step 3 .*last good checkpoint is .*Lower") as caught:
        broken.run()
    assert caught.value.values["step"] == 3
    assert load_checkpoint(tmp_path / "a" / CHECKPOINT).progressed.step == 2


def test_foreign_checkpoints_and_impossible_settings_are_refused(tmp_path: Path, stream: TokenStream) -> None:
    """Another recipe's checkpoint, and settings that cannot be."""
    trainer(tmp_path / "a", stream, steps=1).run()
    with pytest.raises(DataError, match="made from another recipe or other tokens"):
        trainer(tmp_path / "a", stream, made_from="y")


def test_an_unfinished_run_of_version_0_1_0_goes_on(tmp_path: Path, stream: TokenStream) -> None:
    """Its names of parameters and optimizer state are known, and it ends with the bits of an uninterrupted run."""
    trainer(tmp_path / "a", stream).run()
    with pytest.raises(Stopped):
        trainer(tmp_path / "b", stream, progress=SignalAt(11, signal.SIGTERM)).run()
    path = tmp_path / "b" / CHECKPOINT
    about = json.loads(safetensors.safe_open(path, framework="pt").metadata()["bytecap"])
    about["spec"]["techniques"] = ["unet_skips", "residual_mix"]
    del about["written_by"]
    old_names = {"techniques.unet_skips.": "route.0.", "techniques.residual_mix.": "route.1."}
    tensors = {}
    for name, value in load_file(path).items():
        for new, old in old_names.items():
            name = name.replace(new, old)
        tensors[name] = value
    assert sum("route." in name for name in tensors) == 2 * 4  # weights, and three states of AdamW
    save_file(tensors, path, metadata={"bytecap": json.dumps(about)})
    trainer(tmp_path / "b", stream).run()
    one, other = (load_checkpoint(tmp_path / f / CHECKPOINT).weights for f in "ab")
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
