"""Parallel lanes equal a forward pass that is written out with two streams."""

from itertools import pairwise
from typing import cast

import pytest
import torch
from torch import Tensor

from bytecap.core.elementwise import rms_norm
from bytecap.core.errors import ConfigError
from bytecap.model.block import Block
from bytecap.model.gpt import GPT
from bytecap.model.hooks import Techniques
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques import with_defaults
from bytecap.model.techniques.base import Visit
from bytecap.model.techniques.depth_recurrence import DepthRecurrenceConfig
from bytecap.model.techniques.parallel_lanes import ParallelLanes, ParallelLanesConfig

SHAPE = {"vocab_size": 20, "d_model": 8, "n_heads": 2, "n_kv_heads": 1, "d_ff": 12}
TOKENS_BT = torch.tensor([[1, 5, 6, 7, 1, 9], [2, 3, 4, 5, 6, 7]])


def build(n_layers: int, **techniques: object) -> GPT:
    torch.manual_seed(0)
    model = GPT(ModelSpec(**SHAPE, n_layers=n_layers, techniques=techniques))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def slow_hidden(model: GPT, first_laned: int) -> Tensor:
    """Two lanes as the published run has them, with its gated skips and residual mix."""
    context, none = model._context(TOKENS_BT, 1), Techniques(ModelSpec(**SHAPE, techniques={}))  # type: ignore[arg-type]
    own = dict(model.techniques.named_parameters())
    mix = own["residual_mix.mix_L2D"]
    lane_0 = lane_1 = x0 = rms_norm(model.embedding[TOKENS_BT])
    saved: list[Tensor] = []
    n_layers = len(model.blocks)
    for i, block in enumerate(cast(list[Block], list(model.blocks))):
        visit = Visit(i, i, n_layers)
        laned = i >= first_laned
        if not laned:
            lane_1 = lane_0
        skip = i - n_layers // 2
        if 0 <= skip < n_layers // 2:
            gate = torch.sigmoid(own["gated_skips.gate_SD"][skip])
            lane_0 = gate * lane_0 + (1 - gate) * own["gated_skips.weight_SD"][skip] * saved[n_layers // 2 - 1 - skip]
        read = mix[i, 0] * lane_0 + mix[i, 1] * x0
        attention = block.attention_scale * block.attention(rms_norm(read), visit, context, none)
        mlp = block.mlp_scale * block.mlp(rms_norm(lane_1 if laned else read + attention))
        if laned:
            keep, add = own["parallel_lanes.keep_P2"][i - first_laned], own["parallel_lanes.add_P22"][i - first_laned]
            both = [keep[j] * lane + add[0, j] * attention + add[1, j] * mlp for j, lane in enumerate((lane_0, lane_1))]
            lane_0, lane_1 = both
        else:
            lane_0 = lane_1 = read + attention + mlp
        saved.append(lane_0)
    return rms_norm((lane_0 + lane_1) / 2)


@pytest.mark.parametrize(("n_layers", "laned"), [(5, 2), (4, 3), (3, 3), (4, 1)])
def test_equals_the_slow_formula(n_layers: int, laned: int) -> None:
    """Lanes that begin in the middle, before the skips begin, at the first block and at the last."""
    others = with_defaults("gated_skips", "residual_mix")
    model = build(n_layers, parallel_lanes=ParallelLanesConfig(last_blocks=laned), **others)
    torch.testing.assert_close(model.hidden(TOKENS_BT, 1), slow_hidden(model, n_layers - laned))


def test_published_start() -> None:
    """Lanes from block 8 of 11, residual 1.1, posts 1."""
    spec = ModelSpec(**SHAPE, n_layers=11, techniques=with_defaults("parallel_lanes"))  # type: ignore[arg-type]
    technique = ParallelLanes(ParallelLanesConfig(), spec)
    assert technique.blocks == range(8, 11)
    assert torch.equal(technique.keep_P2, torch.full((3, 2), 1.1)) and torch.equal(
        technique.add_P22, torch.ones(3, 2, 2)
    )


def test_lanes_come_behind_skips_and_before_the_mix() -> None:
    """They come behind the skips and before the mix, whatever the recipe says."""
    names = ["residual_mix", "unet_skips", "parallel_lanes", "gated_skips"]
    order = list(ModelConfig(techniques=with_defaults(*names)).techniques)
    assert order == ["gated_skips", "unet_skips", "parallel_lanes", "residual_mix"]


def test_impossible_blocks_are_refused() -> None:
    """More blocks than there are, and a block without lanes after one with them."""
    with pytest.raises(ConfigError, match=r"model\.techniques\.parallel_lanes: last_blocks is 9"):
        ModelConfig(n_layers=4, techniques={"parallel_lanes": ParallelLanesConfig(last_blocks=9)})
    lanes = {"parallel_lanes": ParallelLanesConfig(last_blocks=2)}
    for blocks, fits in (("1-2", False), ("1-1", True), ("2-3", True)):
        techniques = {"depth_recurrence": DepthRecurrenceConfig(blocks=blocks), **lanes}
        if fits:
            model = ModelConfig(n_layers=4, techniques=techniques)
            laned = [block >= 2 for block in model.visits]
            assert all(a <= b for a, b in pairwise(laned))
        else:
            with pytest.raises(ConfigError, match=r"opens two lanes at block 2.* 0, 1, 2, 1, 2, 1, 2, 3"):
                ModelConfig(n_layers=4, techniques=techniques)
