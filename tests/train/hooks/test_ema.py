"""The moving average equals one written out, survives a stop to the bit, and is exported when asked for."""

import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bytecap.core.errors import Stopped
from bytecap.text.shards import TokenStream
from bytecap.train.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint, trained_model
from bytecap.train.hooks.ema import EMA, EMAConfig
from tests.train.test_loop import SignalAt, stream, trainer

assert stream  # a fixture


@pytest.mark.parametrize("start", [0.0, 0.35])
def test_equals_the_slow_average(start: float) -> None:
    """Step by step, number by number; it begins with the weights of the first step at or after `start`."""
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    ema = EMA(EMAConfig(decay=0.9, start=start), model)
    slow = model.weight.tolist()[0] if start == 0 else None
    for step in range(11):
        with torch.no_grad():
            model.weight.normal_()
        ema.after_step(model, step / 10)
        now = model.weight.tolist()[0]
        if slow is not None:
            slow = [0.9 * a + 0.1 * b for a, b in zip(slow, now, strict=True)]
        elif step / 10 >= start:
            slow = now
    torch.testing.assert_close(ema.at_end(model)["weight"], torch.tensor([slow]))


def test_a_horizon_is_a_fraction_of_the_run() -> None:
    """In runs of 100 and of 1,000 steps the first weights keep the same share; a slow run of uneven steps, too."""
    for progress in (np.linspace(0, 1, 100), np.linspace(0, 1, 1000), np.sort(np.random.default_rng(0).random(200))):
        model = nn.Linear(1, 1, bias=False)
        nn.init.ones_(model.weight)
        ema = EMA(EMAConfig(horizon=0.25), model)
        nn.init.zeros_(model.weight)
        for p in progress:
            ema.after_step(model, float(p))
        assert ema.averages["weight"].item() == pytest.approx(math.exp(-float(progress[-1]) / 0.25), rel=1e-3)


def test_a_horizon_survives_a_stop(tmp_path: Path, stream: TokenStream) -> None:
    """The same averages to the bit."""
    config: dict[str, Any] = {"hooks": {"ema": EMAConfig(horizon=0.2)}, "exported_weights": "ema"}
    straight = finished(tmp_path / "a", stream, **config)
    stopped(tmp_path / "b", stream, 7, **config)
    resumed = finished(tmp_path / "b", stream, **config)
    assert all(torch.equal(value, resumed.weights[name]) for name, value in straight.weights.items())


def stopped(folder: Path, stream: TokenStream, step: int, **config: Any) -> Checkpoint:
    with pytest.raises(Stopped):
        trainer(folder, stream, progress=SignalAt(step, signal.SIGTERM), **config).run()
    return load_checkpoint(folder / CHECKPOINT)


def finished(folder: Path, stream: TokenStream, **config: Any) -> Checkpoint:
    trainer(folder, stream, **config).run()
    return load_checkpoint(folder / CHECKPOINT)


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_resumed_equals_uninterrupted(tmp_path: Path, stream: TokenStream, start: float) -> None:
    """Stopped twice, before and after it began: the same averages and weights to the bit."""
    config: dict[str, Any] = {"hooks": {"ema": EMAConfig(decay=0.8, start=start)}, "exported_weights": "ema"}
    straight = finished(tmp_path / "a", stream, **config)
    assert bool(stopped(tmp_path / "b", stream, 7, **config).hooks) is (start == 0)
    assert stopped(tmp_path / "b", stream, 21, **config).hooks["ema"].keys() == straight.weights.keys()
    resumed = finished(tmp_path / "b", stream, **config)
    last = straight.other_weights["last"], resumed.other_weights["last"]
    for one, other in ((straight.weights, resumed.weights), last):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_which_weights_are_exported(tmp_path: Path, stream: TokenStream) -> None:
    """The last ones unless the settings say otherwise; the others are kept beside them; training itself is the same."""
    plain = finished(tmp_path / "plain", stream)
    hooks = {"ema": EMAConfig(decay=0.8)}
    last = finished(tmp_path / "last", stream, hooks=hooks)
    averaged = finished(tmp_path / "ema", stream, hooks=hooks, exported_weights="ema")
    assert (plain.exported, last.exported, averaged.exported) == ("last", "last", "ema")
    for name, value in plain.weights.items():
        assert torch.equal(last.weights[name], value) and torch.equal(averaged.other_weights["last"][name], value)
        assert torch.equal(last.other_weights["ema"][name], averaged.weights[name])
    assert not torch.equal(averaged.weights["embedding"], plain.weights["embedding"])
    assert plain.other_weights == {} and averaged.hooks == averaged.optimizer == {}
    model, _ = trained_model(tmp_path / "ema")
    assert torch.equal(model.embedding, averaged.weights["embedding"])
