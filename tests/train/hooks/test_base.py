"""A hook that is nothing but a file is called in its places, and its state goes through a checkpoint."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bytecap.core.errors import Stopped
from bytecap.text.shards import TokenStream
from bytecap.train import hooks
from bytecap.train.checkpoint import CHECKPOINT, load_checkpoint
from bytecap.train.hooks import HOOKS
from tests.train.test_loop import SignalAt, stream, trainer

assert stream  # a fixture
COUNTER = """
import torch
from bytecap.train.hooks.base import TrainingHook

class Counter(TrainingHook):
    ended = []
    def __init__(self, config, model):
        self.steps = torch.zeros(1)
    def after_step(self, model, progress):
        self.steps += 1
    def at_end(self, model):
        self.ended.append(float(self.steps))
        return {}
    def state_tensors(self):
        return {"steps": self.steps}
    def load_state_tensors(self, tensors):
        self.steps = tensors["steps"].clone()
"""


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[None]:
    """A folder whose files count as hooks."""
    (tmp_path / "step_counter.py").write_text(COUNTER)
    hooks.__path__.append(str(tmp_path))
    yield
    hooks.__path__.remove(str(tmp_path))


def test_called_after_each_step_and_at_the_end(counter: None, tmp_path: Path, stream: TokenStream) -> None:
    """Also when the run was stopped between."""
    config: dict[str, Any] = {"hooks": {"step_counter": HOOKS.find("step_counter").config_class()}}
    with pytest.raises(Stopped):
        trainer(tmp_path / "run", stream, progress=SignalAt(7, signal.SIGTERM), **config).run()
    assert load_checkpoint(tmp_path / "run" / CHECKPOINT).hooks["step_counter"]["steps"].tolist() == [7]
    trainer(tmp_path / "run", stream, **config).run()
    assert HOOKS.find("step_counter").ended == [30.0]  # type: ignore[attr-defined]
    saved = load_checkpoint(tmp_path / "run" / CHECKPOINT)
    assert saved.hooks == {} and saved.other_weights == {} and saved.exported == "last"
