"""The forward pass reads the weights that the scheme's file would hold, and the raw ones move."""

import dataclasses
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bytecap.core.errors import ConfigError, Stopped
from bytecap.core.progress import Silent
from bytecap.model.gpt import GPT
from bytecap.published.rounding import round_published, row_scales
from bytecap.text.shards import TokenStream
from bytecap.train.checkpoint import CHECKPOINT, load_checkpoint
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.fake_quantization import FakeQuantization, FakeQuantizationConfig
from bytecap.train.loop import Trainer, TrainingJob
from tests.contracts.hooks import GRIDS, MODEL, STEPS, assert_same, build_job
from tests.train.test_loop import SignalAt, stream

assert stream  # a fixture


def with_config(stream: TokenStream, config: FakeQuantizationConfig) -> TrainingJob:
    job = build_job(stream, "fake_quantization")
    return dataclasses.replace(job, config=dataclasses.replace(job.config, hooks={"fake_quantization": config}))


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def steps(hook: FakeQuantization, model: GPT) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Raw weights and those that are read, for eleven steps in which all weights move at random."""
    for step in range(11):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        raw = weights(model)
        hook.before_step(model, step / 10)
        yield raw, weights(model)
        hook.after_backward(model, step / 10)
        assert_same(raw, weights(model))


def prepared(stream: TokenStream, config: FakeQuantizationConfig) -> tuple[FakeQuantization, GPT]:
    torch.manual_seed(0)
    model = GPT(MODEL)
    hook = FakeQuantization(config, model)
    hook.prepare(with_config(stream, config))
    return hook, model


def test_reads_what_the_file_would_hold(stream: TokenStream) -> None:
    """To the bit, from the start on, matrices and embedding; gains and other vectors stay as they are."""
    hook, model = prepared(stream, FakeQuantizationConfig(start=0.5))
    for step, (raw, read) in enumerate(steps(hook, model)):
        for name, value in raw.items():
            expected = value.numpy()
            if step >= 5 and name in GRIDS:
                expected = round_published(expected, GRIDS[name], None).weights()
            assert np.array_equal(read[name].numpy(), expected), (step, name)
    assert "embedding" in GRIDS and "blocks.0.mlp.up.weight" in GRIDS and "blocks.0.mlp_scale" not in GRIDS


def test_noise_fills_one_step(stream: TokenStream) -> None:
    """Uniform over ± half a step of each row's scale, other noise in every step."""
    hook, model = prepared(stream, FakeQuantizationConfig(noise=True))
    name, seen = "embedding", []
    for raw, read in steps(hook, model):
        scales = row_scales(raw[name].numpy(), GRIDS[name]).astype(np.float32)
        seen.append((read[name] - raw[name]).numpy() / scales[:, None])
    drawn = np.stack(seen)
    assert abs(drawn).max() < 0.51 and abs(drawn.mean()) < 0.02 and abs(drawn.var() - 1 / 12) < 0.005
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 0.15


def test_gradients_are_those_at_the_rounded_weights(stream: TokenStream) -> None:
    """Straight-through: as of a model that has the rounded weights, and so it moves the raw ones."""
    hook, model = prepared(stream, FakeQuantizationConfig())
    twin = GPT(MODEL)
    tokens_BT, target_BT = torch.randint(2, 50, (2, 2, 9)).unbind()
    for _, read in steps(hook, model):
        twin.load_state_dict(read)
        for each in (model, twin):
            each.zero_grad()
            each(tokens_BT, target_BT, 1).mean().backward()
        for one, other in zip(model.parameters(), twin.parameters(), strict=True):
            assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("noise", [False, True])
def test_a_run_saves_raw_weights_and_resumes(tmp_path: Path, stream: TokenStream, noise: bool) -> None:
    """Saved weights lie on no grid, and a run that was stopped has the bits, noise included, of one that was not."""
    job = with_config(stream, FakeQuantizationConfig(start=0.3, noise=noise))
    for folder, stops in (("a", []), ("b", [2, 8])):
        (tmp_path / folder).mkdir()
        for stop in stops:
            with pytest.raises(Stopped):
                Trainer(job, tmp_path / folder, torch.device("cpu"), SignalAt(stop, signal.SIGTERM)).run()
        Trainer(job, tmp_path / folder, torch.device("cpu"), Silent()).run()
    one, other = (load_checkpoint(tmp_path / folder / CHECKPOINT) for folder in "ab")
    assert_same(one.weights, other.weights)
    weight = one.weights["embedding"].numpy()
    assert not np.array_equal(weight, round_published(weight, GRIDS["embedding"], None).weights())
    assert one.progressed.step == STEPS


def test_without_a_grid_it_is_refused(stream: TokenStream) -> None:
    """The scheme quantizes no weight of the model."""
    hook = FakeQuantization(FakeQuantizationConfig(), GPT(MODEL))
    with pytest.raises(ConfigError, match=r"train\.hooks\.fake_quantization: scheme int8 quantizes no weight"):
        hook.prepare(dataclasses.replace(build_job(stream, None), grids={}))
    with pytest.raises(ConfigError, match=r"start is 1\.5"):
        TrainConfig(hooks={"fake_quantization": FakeQuantizationConfig(start=1.5)}).check_hooks(MODEL)
