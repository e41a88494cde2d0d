"""Exclusive self-attention equals the formula written out."""

import math

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Attended, Visit
from bytecap.model.techniques.xsa import XSA, XSAConfig

SPEC = ModelSpec(vocab_size=9, n_layers=5, d_model=24, n_heads=6, n_kv_heads=2, d_ff=8)


def slow_xsa(head: list[float], value: list[float]) -> list[float]:
    length = math.sqrt(sum(v * v for v in value))
    along = sum(o * v / length for o, v in zip(head, value, strict=True))
    return [o - along * v / length for o, v in zip(head, value, strict=True)]


def test_equals_the_slow_formula() -> None:
    """Head by head, position by position; nothing is left along the own value."""
    torch.manual_seed(0)
    heads_BHTK, value_BGTK = torch.randn(2, 6, 3, 4), torch.randn(2, 2, 3, 4)
    part = XSA(XSAConfig(last_blocks=2), SPEC)
    attended = Attended(torch.empty(0), value_BGTK)
    found_BHTK = part.heads(heads_BHTK, attended, Visit(3, 3, 5), None)  # type: ignore[arg-type]
    for b in range(2):
        for h in range(6):
            for t in range(3):
                value = value_BGTK[b, h // 3, t].tolist()
                expected = slow_xsa(heads_BHTK[b, h, t].tolist(), value)
                torch.testing.assert_close(found_BHTK[b, h, t], torch.tensor(expected))
                assert abs(float(found_BHTK[b, h, t] @ value_BGTK[b, h // 3, t])) < 1e-5
    assert part.heads(heads_BHTK, attended, Visit(4, 2, 5), None) is heads_BHTK  # type: ignore[arg-type]


def test_last_blocks() -> None:
    """A number or a share; not more than there are."""
    assert XSA(XSAConfig(), SPEC).blocks == range(3, 5)
    assert XSA(XSAConfig(last_blocks=4), SPEC).blocks == range(1, 5)
    for wrong in (6, 0, "4 of 3", "some"):
        with pytest.raises(ConfigError, match="last_blocks is"):
            XSAConfig(last_blocks=wrong).selected_blocks(SPEC)
