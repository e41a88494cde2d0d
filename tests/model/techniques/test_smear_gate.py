"""SmearGate equals its formula written out, and begins anew with each document."""

import math

import torch

from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.smear_gate import SmearGate, SmearGateConfig

SPEC = ModelSpec(vocab_size=9, n_layers=1, d_model=4, n_heads=1, n_kv_heads=1, d_ff=8, techniques={})


def test_equals_the_slow_formula() -> None:
    """Position by position; a document's first token blends with nothing, also in the middle of a row."""
    torch.manual_seed(0)
    gate = SmearGate(SmearGateConfig(), SPEC)
    assert torch.sigmoid(gate.gate_D).tolist() == [0.5] * 4
    gate.requires_grad_(False).gate_D.normal_()
    tokens = [[1, 5, 6, 1, 7], [4, 1, 1, 5, 8]]
    context = GPT(SPEC)._context(torch.tensor(tokens), 1)
    stream_BTD = torch.randn(2, 5, 4)
    found_BTD = gate.first(stream_BTD, context)
    for b, row in enumerate(tokens):
        for t, token in enumerate(row):
            for d in range(4):
                g = 1 / (1 + math.exp(-float(gate.gate_D[d])))
                left = 0.0 if t == 0 or token == 1 else float(stream_BTD[b, t - 1, d])
                expected = (1 - g) * float(stream_BTD[b, t, d]) + g * left
                torch.testing.assert_close(float(found_BTD[b, t, d]), expected, atol=1e-5, rtol=1e-5)
