"""What every training hook owes, as checks that take its name: tests/contracts/test_hooks.py runs them over all.

Letters: B sequences, T positions.
"""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bytecap.core.errors import ConfigError, Stopped
from bytecap.core.progress import Silent
from bytecap.model.block import Block
from bytecap.model.mean_loss import MixtureWeights
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import with_defaults
from bytecap.published.scheme_plan import training_grids
from bytecap.run.grids import model_shapes
from bytecap.text.shards import TokenStream
from bytecap.train.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint
from bytecap.train.config import TrainConfig
from bytecap.train.hooks import HOOKS
from bytecap.train.hooks.base import HookConfig
from bytecap.train.loop import Trainer, TrainingJob
from tests.model.test_gpt import SPEC
from tests.train.test_loop import SignalAt

STEPS = 12
START = 0.4
"""Of every hook that has one: from the fifth step on, steps 5 / 11 and later."""
MODEL: ModelSpec = dataclasses.replace(SPEC, techniques=with_defaults("unet_skips", "residual_mix", "depth_recurrence"))
"""A model in which every hook has something to do."""

GRIDS = training_grids("int8", model_shapes(MODEL), keep_small=0)


class WatchedTrainer(Trainer):
    """Notes what each step does: `seen[step][change]` is equal in two runs whose steps do the same."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: list[dict[str, Any]] = []
        for block in self.model.blocks:
            block.register_forward_pre_hook(self._note_block)
        self._unwatched, self._loss = self._loss, self._watched_loss

    def _watched_loss(self, tokens_BT: Tensor, *arguments: Any, mixture: MixtureWeights | None, **named: Any) -> Tensor:
        weights = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        loss = None if mixture is None else [part.tolist() for part in mixture[:2]]
        self.seen.append({"data": tokens_BT.tolist(), "weights": weights, "graph": [], "loss": loss})
        return self._unwatched(tokens_BT, *arguments, mixture=mixture, **named)

    def _note_block(self, module: nn.Module, arguments: Any) -> None:
        assert isinstance(module, Block)
        self.seen[-1]["graph"].append(arguments[1].block)


def default_config(name: str) -> HookConfig:
    """Its settings, with a start inside the run where it has one."""
    config: Any = HOOKS.find(name).config_class()
    if hasattr(config, "start"):
        config = dataclasses.replace(config, start=START)
    assert isinstance(config, HookConfig)
    return config


def _plan_steps(model: nn.Module) -> dict[str, Tensor]:
    return {name: torch.full_like(value, 0.01) for name, value in model.named_parameters() if value.ndim == 2}


def build_job(stream: TokenStream, name: str | None) -> TrainingJob:
    """A short run of `MODEL`, with one hook or without any."""
    hooks = {} if name is None else {name: default_config(name)}
    return TrainingJob(
        config=TrainConfig(steps=STEPS, batch=4, context=16, micro_batch=4, checkpoint_seconds=1e9, hooks=hooks),
        spec=MODEL, stream=stream, bos=1, seed=0, tokens="t", made_from=("x",), grids=GRIDS, plan_steps=_plan_steps,
    )  # fmt: skip


def build_trainer(folder: Path, stream: TokenStream, name: str | None, stop_at: int | None = None) -> WatchedTrainer:
    """One that watches the run, and is stopped after some step where that is asked for."""
    folder.mkdir(exist_ok=True, parents=True)
    progress = Silent() if stop_at is None else SignalAt(stop_at, signal.SIGTERM)
    return WatchedTrainer(build_job(stream, name), folder, torch.device("cpu"), progress)


def finish(folder: Path, trainer: WatchedTrainer) -> Checkpoint:
    trainer.run()
    return load_checkpoint(folder / CHECKPOINT)


def check_survives(name: str, folder: Path, stream: TokenStream) -> None:
    """Stopped before and after its start, and continued: what it leaves has the bits of a run that never stopped."""
    straight = finish(folder / "straight", build_trainer(folder / "straight", stream, name))
    for stop in (2, 9):
        with pytest.raises(Stopped):
            build_trainer(folder / "stopped", stream, name, stop).run()
    resumed = finish(folder / "stopped", build_trainer(folder / "stopped", stream, name))
    assert_same(straight.weights, resumed.weights)
    before = (folder / "straight" / CHECKPOINT).read_bytes()
    assert build_trainer(folder / "straight", stream, name).run().finished  # once more, as the same command does
    assert (folder / "straight" / CHECKPOINT).read_bytes() == before
    for one, other in ((straight.other_weights, resumed.other_weights), (straight.hooks, resumed.hooks)):
        assert one.keys() == other.keys()
        for group in one:
            assert_same(one[group], other[group])


def check_changes(name: str, folder: Path, stream: TokenStream) -> None:
    """The first step that differs from a run without it differs in what is declared; the end has what is declared."""
    with_hook, without = (build_trainer(folder / str(n), stream, n) for n in (name, None))
    found, plain = (finish(folder / str(n), trainer) for n, trainer in ((name, with_hook), (None, without)))
    changed = set()
    for one, other in zip(with_hook.seen, without.seen, strict=True):
        if changed := {kind for kind in one if not equal(one[kind], other[kind])}:
            break
    else:
        assert_same(found.weights, plain.weights)
    if found.other_weights:
        changed.add("average")
    if found.hooks:
        changed.add("statistics")
    declared = HOOKS.find(name).changes
    assert changed == set(declared), f"{name} changes {sorted(changed)}, and declares {sorted(declared)}"
    assert changed, f"{name} changes nothing"


def check_start(name: str) -> None:
    """Outside the run it is refused, by name."""
    config: Any = HOOKS.find(name).config_class()
    if not hasattr(config, "start"):
        return
    for start in (1.5, -0.1, float("nan")):
        with pytest.raises(ConfigError, match=rf"train\.hooks\.{name}: start is"):
            TrainConfig(hooks={name: dataclasses.replace(config, start=start)}).check_hooks(MODEL)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(torch.equal(one[name], other[name]) for name in one)
    return bool(one == other)


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
