"""Divergence against a sum over single positions."""

import math

import pytest
import torch

from bytecap.core.errors import DataError
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.scoring.divergence import divergence, gpt_logits

SPEC = ModelSpec(vocab_size=30, n_layers=1, d_model=8, n_heads=2, n_kv_heads=1, d_ff=12, techniques={})


def models() -> tuple[GPT, GPT]:
    torch.manual_seed(0)
    first, second = GPT(SPEC), GPT(SPEC)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.normal_(std=0.5)
        second.load_state_dict(first.state_dict())
        second.embedding.add_(torch.randn_like(second.embedding) * 0.1)
    return first, second


def test_against_single_positions() -> None:
    """Mean over every position of Σ p (log p - log q); losses at the targets; 1.96 standard errors of window means."""
    first, second = models()
    rows = torch.randint(30, (5, 9))
    found = divergence(gpt_logits(first, 1), gpt_logits(second, 1), [rows[:2], rows[2:]])
    means = []
    for row in rows:
        total = 0.0
        p, q = (m.logits(m.hidden(row[None, :-1], 1))[0].softmax(-1).double().tolist() for m in (first, second))
        for t in range(8):
            total += float(sum(p[t][v] * math.log(p[t][v] / q[t][v]) for v in range(30)))
        means.append(total / 8)
    assert found.kl == pytest.approx(sum(means) / 5, rel=1e-3) and found.tokens == 40
    spread = torch.tensor(means).std() / math.sqrt(5)
    assert found.kl_interval == pytest.approx(1.96 * float(spread), rel=1e-2)
    losses = [float(m.requires_grad_(False)(rows[:, :-1], rows[:, 1:], 1).mean()) for m in (first, second)]
    assert (found.loss_before, found.loss_after) == pytest.approx(losses, rel=1e-5)
    assert found.increase == found.loss_after - found.loss_before


def test_a_model_and_itself() -> None:
    """Nothing; and no text is an error."""
    first, _ = models()
    found = divergence(gpt_logits(first, 1), gpt_logits(first, 1), [torch.randint(30, (2, 5))])
    assert found.kl == 0 and found.increase == 0 and found.increase_interval == 0
    with pytest.raises(DataError, match="no text to compare"):
        divergence(gpt_logits(first, 1), gpt_logits(first, 1), [])
