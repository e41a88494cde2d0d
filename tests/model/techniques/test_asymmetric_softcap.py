"""The asymmetric softcap equals its formula written out, and replaces the model's own."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import with_defaults

SPEC = ModelSpec(
    vocab_size=9, n_layers=1, d_model=4, n_heads=1, n_kv_heads=1, d_ff=8, logit_softcap=7.0,
    techniques=with_defaults("asymmetric_softcap"),
)  # fmt: skip


def test_equals_the_slow_formula() -> None:
    """Logit by logit; a softcap of the other sign does the same."""
    torch.manual_seed(0)
    model = GPT(SPEC).requires_grad_(False)
    nn.init.normal_(model.embedding, std=3)
    hidden_BTD = torch.randn(2, 3, 4)
    raw_BTV = F.linear(hidden_BTD, model.embedding)
    for positive, negative in ((7.0, 7.0), (5.0, 20.0), (-5.0, -20.0)):
        caps_2 = model.techniques.get_parameter("asymmetric_softcap.caps_2")
        if positive == 7.0:
            assert caps_2.tolist() == [7.0, 7.0]
        caps_2.copy_(torch.tensor([positive, negative]))
        found = model.logits(hidden_BTD).flatten().tolist()
        for logit, raw in zip(found, raw_BTV.flatten().tolist(), strict=True):
            cap = positive if raw > 0 else negative
            assert abs(logit - cap * math.tanh(raw / cap)) < 1e-4
