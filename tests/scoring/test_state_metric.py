"""The metric of states against the Fisher information, summed over tokens."""

from __future__ import annotations

import torch

from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.scoring.state_metric import state_metric

BOS = 1
SPEC = ModelSpec(vocab_size=40, d_model=32, n_layers=2, n_heads=1, n_kv_heads=1, d_ff=32, logit_softcap=5.0)


def test_the_metric_is_the_fisher_information() -> None:
    """Two states are as far apart as the logits that tell them apart weigh."""
    torch.manual_seed(0)
    model = GPT(SPEC).eval()
    torch.nn.init.normal_(model.embedding, std=0.5)
    with torch.no_grad():
        metric = state_metric(model, BOS)
        states = [model.hidden(torch.tensor([[BOS, token]]), BOS)[0, 1] for token in range(SPEC.vocab_size)]
        said = [(5 * torch.tanh(model.embedding @ state / 5)).softmax(dim=0) for state in states]
        mean_V = torch.stack(said).mean(dim=0)
        apart_D = torch.randn(SPEC.d_model)
        change_V = model.embedding @ apart_D
        variance = float((mean_V * change_V**2).sum() - (mean_V * change_V).sum() ** 2)
    torch.testing.assert_close(metric.mean_D, torch.stack(states).mean(dim=0), atol=1e-5, rtol=0)
    torch.testing.assert_close(float((apart_D @ metric.root_DD).square().sum()), variance, rtol=1e-3, atol=0)


def test_states_become_unit_vectors() -> None:
    """Whatever their lengths."""
    torch.manual_seed(0)
    metric = state_metric(GPT(SPEC).eval(), BOS)
    units_BTD = metric.unit_states(torch.randn(2, 3, SPEC.d_model) * 100)
    torch.testing.assert_close(units_BTD.norm(dim=-1), torch.ones(2, 3))
