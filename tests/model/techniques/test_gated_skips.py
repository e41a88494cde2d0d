"""Gated skips equal their formula written out, over the visits of a whole pass."""

import math

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.model.attention_mask import AttentionMask
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques import with_defaults
from bytecap.model.techniques.base import Context, Visit
from bytecap.model.techniques.depth_recurrence import DepthRecurrenceConfig
from bytecap.model.techniques.gated_skips import GatedSkips, GatedSkipsConfig

SHAPE = {"vocab_size": 9, "d_model": 4, "n_heads": 1, "n_kv_heads": 1, "d_ff": 8}


def slow_pass(stream: float, outputs: list[float], weights: list[float], gates: list[float]) -> list[float]:
    """What each visit reads, for one channel, when visit i leaves `outputs[i]`."""
    half, reads = len(outputs) // 2, []
    for i in range(len(outputs)):
        read = outputs[i - 1] if i else stream
        if half <= i < 2 * half:
            g = 1 / (1 + math.exp(-gates[i - half]))
            read = g * read + (1 - g) * weights[i - half] * outputs[2 * half - 1 - i]
        reads.append(read)
    return reads


def new_context() -> Context:
    empty = torch.empty(0, 0)
    return Context(empty, empty, empty, empty, AttentionMask())


@pytest.mark.parametrize("visits", [2, 4, 5])
def test_equals_the_slow_formula(visits: int) -> None:
    """Each visit reads what the formula says, the odd one out nothing but the stream."""
    torch.manual_seed(0)
    spec = ModelSpec(**SHAPE, n_layers=visits)  # type: ignore[arg-type]
    technique = GatedSkips(GatedSkipsConfig(), spec).requires_grad_(False)
    assert technique.weight_SD.shape == (visits // 2, 4)
    for parameter in technique.parameters():
        parameter.normal_()
    context = new_context()
    outputs = [torch.randn(1, 1, 4) for _ in range(visits)]
    stream_BTD = first_BTD = torch.randn(1, 1, 4)
    reads = []
    for place, output_BTD in enumerate(outputs):
        visit = Visit(place, place, visits)
        reads.append(technique.before(stream_BTD, visit, context))
        stream_BTD = technique.after(output_BTD, visit, context)
    for d in range(4):
        columns = technique.weight_SD[:, d].tolist(), technique.gate_SD[:, d].tolist()
        expected = slow_pass(float(first_BTD[0, 0, d]), [float(o[0, 0, d]) for o in outputs], *columns)
        torch.testing.assert_close([float(r[0, 0, d]) for r in reads], expected)


def test_starts_at_an_even_blend() -> None:
    """Half of the stream and half of the output saved."""
    technique = GatedSkips(GatedSkipsConfig(), ModelSpec(**SHAPE, n_layers=2))  # type: ignore[arg-type]
    context = new_context()
    technique.after(torch.full((1, 1, 4), 3.0), Visit(0, 0, 2), context)
    assert torch.equal(technique.before(torch.ones(1, 1, 4), Visit(1, 1, 2), context), torch.full((1, 1, 4), 2.0))


def test_one_block() -> None:
    """It has nothing to hand on, unless it is visited again."""
    with pytest.raises(ConfigError, match=r"model\.techniques\.gated_skips: it joins blocks .*=false"):
        ModelConfig(n_layers=1, techniques=with_defaults("gated_skips"))
    twice = {"depth_recurrence": DepthRecurrenceConfig(blocks="0-0", repeats=2), **with_defaults("gated_skips")}
    assert ModelConfig(n_layers=1, techniques=twice).visits == [0, 0]
