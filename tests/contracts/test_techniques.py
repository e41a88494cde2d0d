"""What every technique owes: it is live, causal, isolated by document, has roles, and survives a checkpoint."""

import pytest
import torch

from bytecap.model.gpt import GPT, document_numbers
from bytecap.model.roles import parameter_roles
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import TECHNIQUES

BASE = {"vocab_size": 40, "n_layers": 4, "d_model": 16, "n_heads": 2, "n_kv_heads": 1, "d_ff": 24}


def model_with(name: str) -> GPT:
    torch.manual_seed(0)
    model = GPT(ModelSpec(**BASE, techniques=(name,)))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def logits_of(model: GPT, tokens_BT: torch.Tensor) -> torch.Tensor:
    return model.logits(model.hidden(tokens_BT, document_numbers(tokens_BT, 1)))


TOKENS_BT = torch.tensor([[1, 5, 6, 7, 8, 1, 9, 10, 11, 12]])


@pytest.mark.parametrize("name", TECHNIQUES)
def test_live(name: str) -> None:
    """Its parameters have gradients that are not zero, and changing them changes the logits."""
    model = model_with(name)
    before = logits_of(model, TOKENS_BT)
    before.square().sum().backward()
    for parameter in model.route.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0
        with torch.no_grad():
            parameter.mul_(1.5)
    assert not torch.allclose(logits_of(model, TOKENS_BT), before)


@pytest.mark.parametrize("name", TECHNIQUES)
@pytest.mark.parametrize(("place", "first_allowed"), [(7, 7), (3, 3)])
def test_causal_and_isolated(name: str, place: int, first_allowed: int) -> None:
    """A changed token changes nothing before it and nothing in another document."""
    model = model_with(name)
    changed_BT = TOKENS_BT.clone()
    changed_BT[0, place] = 30
    differs_T = (logits_of(model, TOKENS_BT) != logits_of(model, changed_BT)).any(-1)[0]
    documents_T = document_numbers(TOKENS_BT, 1)[0]
    assert differs_T[place]
    assert not differs_T[:first_allowed].any()
    assert not differs_T[documents_T != documents_T[place]].any()


@pytest.mark.parametrize("name", TECHNIQUES)
def test_roles_and_state(name: str) -> None:
    """Every parameter has a role; a copy loaded from its state gives the same logits."""
    model = model_with(name)
    assert set(parameter_roles(model)) == {n for n, _ in model.named_parameters()}
    other = GPT(model.spec)
    other.load_state_dict(model.state_dict())
    assert torch.equal(logits_of(model, TOKENS_BT), logits_of(other, TOKENS_BT))
