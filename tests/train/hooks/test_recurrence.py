"""Blocks are visited once before the start and repeated from then on; every graph is compiled before the clock."""

import dataclasses
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from bytecap.core.errors import ConfigError, Stopped
from bytecap.core.progress import Silent
from bytecap.model.techniques.depth_recurrence import DepthRecurrenceConfig
from bytecap.text.shards import TokenStream
from bytecap.train.checkpoint import CHECKPOINT, load_training_state, trained_model
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.context import ContextConfig
from bytecap.train.hooks.recurrence import RecurrenceConfig
from bytecap.train.loop import Trainer
from tests.contracts.hooks import MODEL, STEPS, build_job, build_trainer, default_config
from tests.train.test_loop import SignalAt, stream

assert stream  # a fixture
PLAIN, REPEATED = [0, 1, 2], [0, 1, 1, 1, 2]


@pytest.mark.parametrize("stop", [None, 2, 9])
def test_the_order_of_every_step(tmp_path: Path, stream: TokenStream, stop: int | None) -> None:
    """Steps 0 to 4 of 12 lie before 0.4 of the run; also where the run was stopped before or after the start."""
    seen: list[Any] = []
    if stop is not None:
        stopped = build_trainer(tmp_path / "a", stream, "recurrence", stop)
        with pytest.raises(Stopped):
            stopped.run()
        seen = stopped.seen
    trainer = build_trainer(tmp_path / "a", stream, "recurrence")
    trainer.run()
    assert [step["graph"] for step in seen + trainer.seen] == 5 * [PLAIN] + (STEPS - 5) * [REPEATED]
    model, saved = trained_model(tmp_path / "a")
    assert model.techniques["depth_recurrence"].active and saved.spec == MODEL


def test_models_without_recurrence_are_refused() -> None:
    """A model without the technique, one in which it never repeats, a start that is no start."""
    config = TrainConfig(hooks={"recurrence": RecurrenceConfig()})
    without = dataclasses.replace(MODEL, techniques={})
    with pytest.raises(ConfigError, match=r"train\.hooks\.recurrence: depth_recurrence is not among model\.techniques"):
        config.check_hooks(without)
    inactive = dataclasses.replace(MODEL, techniques={"depth_recurrence": DepthRecurrenceConfig(active=False)})
    with pytest.raises(ConfigError, match=r"depth_recurrence has active = false, so there is nothing to switch on"):
        config.check_hooks(inactive)
    with pytest.raises(ConfigError, match=r"start is 0\.0; it must lie between"):
        TrainConfig(hooks={"recurrence": RecurrenceConfig(start=0.0)}).check_hooks(MODEL)


@pytest.mark.slow
def test_graphs_of_several_phases(tmp_path: Path, stream: TokenStream) -> None:
    """Short rows and plain blocks, short rows and repeats, long rows and repeats: three graphs, all before the clock;
    hooks that change weights, averages or statistics bring none."""
    counter = CompileCounter()
    torch.compiler.reset()
    job = build_job(stream, "recurrence")
    names = ("context", "ema", "fake_quantization", "squared_gradients", "swa")
    hooks = {**job.config.hooks, **{name: default_config(name) for name in names}, "context": ContextConfig(start=0.6)}
    config = dataclasses.replace(job.config, hooks=hooks)
    trainer = Trainer(dataclasses.replace(job, config=config), tmp_path, torch.device("cpu"), Silent())
    trainer.compile(backend=counter)
    assert counter.frame_count == 3
    trainer.run()
    assert counter.frame_count == 3
    torch.compiler.reset()


@pytest.mark.slow
def test_both_graphs_are_compiled_before_the_clock(tmp_path: Path, stream: TokenStream) -> None:
    """No graph is compiled during training, nor more of them after a resume than are still to come."""
    counter, cpu = CompileCounter(), torch.device("cpu")
    torch.compiler.reset()
    trainer = Trainer(build_job(stream, "recurrence"), tmp_path, cpu, SignalAt(9, signal.SIGTERM))
    trainer.compile(backend=counter)
    assert counter.frame_count == 2 and trainer.state.compile_seconds > 0
    with pytest.raises(Stopped):
        trainer.run()
    assert counter.frame_count == 2
    saved = load_training_state(tmp_path / CHECKPOINT)
    assert (saved.compile_seconds, saved.progress) == (trainer.state.compile_seconds, 8 / 11)
    assert saved.seconds < saved.compile_seconds  # compiling is far slower than nine steps of this model
    torch.compiler.reset()
    counter.clear()
    again = Trainer(build_job(stream, "recurrence"), tmp_path, cpu, Silent())
    again.compile(backend=counter)
    assert counter.frame_count == 1 and again.state.compile_seconds > saved.compile_seconds
    again.run()
    assert counter.frame_count == 1
    torch.compiler.reset()
