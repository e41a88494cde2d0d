"""Mean squared gradients equal those of a slow loop, over the right steps, and a finished run keeps them."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from bytecap.core.errors import ConfigError
from bytecap.fitting.source import open_checkpoint
from bytecap.text.shards import TokenStream
from bytecap.train.checkpoint import CHECKPOINT, load_checkpoint
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.squared_gradients import SquaredGradients, SquaredGradientsConfig, mean_squares
from bytecap.train.optimizers import OptimizerConfig
from tests.contracts.hooks import MODEL, build_job, build_trainer
from tests.train.test_loop import stream

assert stream  # a fixture


def test_equals_the_slow_sums(stream: TokenStream) -> None:
    """Number by number: a fifth of a warmdown of half the run begins at 0.9, so two of eleven steps count."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4, bias=False))
    hook = SquaredGradients(SquaredGradientsConfig(share=0.2), model)
    hook.prepare(build_job(stream, None))
    sums, steps = {"0.weight": 0.0, "1.weight": 0.0}, 0
    for step in range(11):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        hook.after_backward(model, step / 10)
        if step >= 9:
            steps += 1
            for name in sums:
                numbers = dict(model.named_parameters())[name].grad.flatten().tolist()  # type: ignore[union-attr]
                sums[name] += sum(g * g for g in numbers) / len(numbers)
    assert mean_squares(hook.state_tensors()) == pytest.approx({name: s / steps for name, s in sums.items()})
    assert steps == 2 and mean_squares({}) == {}


def test_a_finished_run_keeps_them(tmp_path: Path, stream: TokenStream) -> None:
    """Those of every matrix, and of nothing else."""
    build_trainer(tmp_path, stream, "squared_gradients").run()
    saved = load_checkpoint(tmp_path / CHECKPOINT)
    found = mean_squares(saved.hooks["squared_gradients"])
    assert found.keys() == {name for name, value in saved.weights.items() if value.ndim == 2}
    assert all(square > 0 for square in found.values())
    assert open_checkpoint(tmp_path / CHECKPOINT).training_squares == found


def test_without_a_warmdown_it_is_refused() -> None:
    """There would be nothing to gather over."""
    config = TrainConfig(hooks={"squared_gradients": SquaredGradientsConfig()}, optimizer=OptimizerConfig(warmdown=0.0))
    with pytest.raises(ConfigError, match=r"squared_gradients: train\.optimizer\.warmdown is 0, .* raise warmdown"):
        config.check_hooks(MODEL)
    dataclasses.replace(config, optimizer=OptimizerConfig(warmdown=0.1)).check_hooks(MODEL)
