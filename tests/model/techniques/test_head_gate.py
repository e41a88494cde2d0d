"""The head gate equals its formula written out."""

import math

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques import with_defaults
from bytecap.model.techniques.base import Attended, Visit
from bytecap.model.techniques.head_gate import HeadGate, HeadGateConfig

SPEC = ModelSpec(vocab_size=9, n_layers=2, d_model=24, n_heads=6, n_kv_heads=2, d_ff=8)


def test_equals_the_slow_formula() -> None:
    """Head by head, position by position, with the weights of the block that is visited."""
    torch.manual_seed(0)
    gate = HeadGate(HeadGateConfig(inputs=3, scale=0.5), SPEC).requires_grad_(False)
    gate.weight_LHI.normal_()
    heads_BHTK, input_BTD = torch.randn(2, 6, 3, 4), torch.randn(2, 3, 24)
    found_BHTK = gate.heads(heads_BHTK, Attended(input_BTD, torch.empty(0)), Visit(0, 1, 2), None)  # type: ignore[arg-type]
    for b in range(2):
        for h in range(6):
            for t in range(3):
                logit = sum(float(gate.weight_LHI[1, h, i]) * float(input_BTD[b, t, i]) for i in range(3))
                factor = 1 / (1 + math.exp(-0.5 * logit))
                torch.testing.assert_close(found_BHTK[b, h, t], factor * heads_BHTK[b, h, t])


def test_starts_at_one_half() -> None:
    """Every gate."""
    gate = HeadGate(HeadGateConfig(), SPEC)
    heads_BHTK = torch.randn(1, 6, 3, 4)
    attended = Attended(torch.randn(1, 3, 24), torch.empty(0))
    assert torch.equal(gate.heads(heads_BHTK, attended, Visit(0, 0, 2), None), heads_BHTK / 2)  # type: ignore[arg-type]


def test_published_size_and_order() -> None:
    """96 weights a block of 8 heads; it comes behind XSA."""
    assert HeadGate(HeadGateConfig(), ModelSpec(vocab_size=9, n_layers=1, techniques={})).weight_LHI.numel() == 96
    assert list(ModelConfig(techniques=with_defaults("head_gate", "xsa")).techniques) == ["xsa", "head_gate"]


def test_too_many_channels_are_refused() -> None:
    """More channels than there are."""
    with pytest.raises(ConfigError, match=r"model\.techniques\.head_gate: inputs is 12, .* 8; lower inputs"):
        ModelConfig(d_model=8, n_heads=2, n_kv_heads=1, techniques=with_defaults("head_gate"))
