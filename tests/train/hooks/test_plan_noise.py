"""The forward pass reads weights on the steps of a plan that is made once, and the raw ones move."""

import dataclasses

import pytest
import torch
from torch import Tensor

from bytecap.core.errors import ConfigError
from bytecap.model.gpt import GPT
from bytecap.text.shards import TokenStream
from bytecap.train.config import TrainConfig
from bytecap.train.hooks.fake_quantization import FakeQuantizationConfig
from bytecap.train.hooks.plan_noise import PlanNoise, PlanNoiseConfig
from tests.contracts.hooks import MODEL, assert_same, build_job
from tests.train.test_loop import stream

assert stream  # a fixture
STEP = 0.25


def prepared(stream: TokenStream, config: PlanNoiseConfig, calls: list[int]) -> tuple[PlanNoise, GPT]:
    """A hook whose plan gives the first MLP one step, its first column a finer one."""

    def plan(model: GPT) -> dict[str, Tensor]:
        calls.append(1)
        step_OI = torch.full_like(model.blocks[0].mlp.up.weight.detach(), STEP)  # type: ignore[union-attr, operator]
        step_OI[:, 0] = STEP / 4
        return {"blocks.0.mlp.up.weight": step_OI}

    torch.manual_seed(0)
    model = GPT(MODEL)
    hook = PlanNoise(config, model)
    hook.prepare(dataclasses.replace(build_job(stream, None), plan_steps=plan))
    return hook, model


@pytest.mark.parametrize("rounding", [True, False])
def test_what_is_read(stream: TokenStream, rounding: bool) -> None:
    """From the start on and in planned tensors alone: whole steps, or noise of at most half a step, anew each time."""
    calls: list[int] = []
    hook, model = prepared(stream, PlanNoiseConfig(start=0.5, rounding=rounding, share=2.0), calls)
    name, read = "blocks.0.mlp.up.weight", []
    for progress in (0.25, 0.5, 0.75):
        raw = {n: p.detach().clone() for n, p in model.named_parameters()}
        hook.before_step(model, progress)
        found = {n: p.detach().clone() for n, p in model.named_parameters()}
        hook.after_backward(model, progress)
        assert_same(raw, {n: p.detach() for n, p in model.named_parameters()})
        moved_OI = (found.pop(name) - raw.pop(name)).abs()
        assert_same(found, raw)
        read.append(moved_OI)
    assert len(calls) == 1 and not read[0].any() and torch.equal(read[1], read[2]) is rounding
    for column, step in ((0, STEP / 2), (1, 2 * STEP)):
        assert 0.3 * step < float(read[1][:, column].max()) <= 0.5001 * step
    state = {key: value.clone() for key, value in hook.state_tensors().items()}
    again, _ = prepared(stream, hook.config, calls)
    again.load_state_tensors(state)
    hook.before_step(model, 0.9)
    one = {n: p.detach().clone() for n, p in model.named_parameters()}
    hook.after_backward(model, 0.9)
    again.before_step(model, 0.9)
    assert_same(one, {n: p.detach() for n, p in model.named_parameters()})
    assert len(calls) == 1


def test_two_grids_and_a_run_without_a_cap_are_refused(stream: TokenStream) -> None:
    """Two grids at once, and a run without a cap."""
    hooks = {"plan_noise": PlanNoiseConfig(), "fake_quantization": FakeQuantizationConfig()}
    with pytest.raises(ConfigError, match=r"train\.hooks\.plan_noise: train\.hooks\.fake_quantization is on too"):
        TrainConfig(hooks=hooks).check_hooks(MODEL)
    with pytest.raises(ConfigError, match="no cap"):
        PlanNoise(PlanNoiseConfig(), GPT(MODEL)).prepare(dataclasses.replace(build_job(stream, None), plan_steps=None))
