"""Cross-entropy in blocks equals the plain one, and so do its gradients."""

import math

import pytest
import torch
import torch.nn.functional as F

from bytecap.core.products import bfloat16_operands, has_bfloat16
from bytecap.model import loss as loss_module
from bytecap.model.gpt import GPT
from bytecap.model.loss import MAX_SOFTCAP, blocks_suit, mean_loss, token_losses
from bytecap.model.spec import ModelSpec

pytestmark = pytest.mark.skipif(
    not blocks_suit(torch.ones(1, 1), torch.ones(1, 1), 1.0), reason="this PyTorch has no oneDNN"
)


def plain(hidden_ND: torch.Tensor, embedding_VD: torch.Tensor, target_N: torch.Tensor, cap: float) -> torch.Tensor:
    """All logits at once, in double precision."""
    logits_NV = hidden_ND.double() @ embedding_VD.double().T
    return F.cross_entropy(cap * torch.tanh(logits_NV / cap), target_N, reduction="none")


@pytest.mark.parametrize(
    "positions, scale, cap", [(1, 1.0, 30.0), (65, 1.0, 15.0), (200, 8.0, 30.0), (130, 20.0, 36.0)]
)
def test_values_and_gradients(positions: int, scale: float, cap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks, the last one shorter; logits small and at the softcap; a gradient that is not 1."""
    monkeypatch.setattr(loss_module, "_BLOCK_LOGITS", 1)
    torch.manual_seed(0)
    hidden_ND = torch.randn(positions, 12, requires_grad=True)
    embedding_VD = (scale * torch.randn(50, 12)).requires_grad_()
    target_N = torch.randint(50, (positions,))
    expected_N = plain(hidden_ND, embedding_VD, target_N, cap)
    found_N = token_losses(hidden_ND, embedding_VD, target_N, cap)
    torch.testing.assert_close(found_N.double(), expected_N, atol=2e-5, rtol=1e-5)
    mean = mean_loss(hidden_ND, embedding_VD, target_N, cap)
    torch.testing.assert_close(mean.double(), expected_N.mean(), atol=2e-5, rtol=1e-5)
    expected = torch.autograd.grad(0.3 * expected_N.mean(), [hidden_ND, embedding_VD])
    found = torch.autograd.grad(0.3 * mean, [hidden_ND, embedding_VD])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.skipif(not has_bfloat16(), reason="this processor multiplies no bfloat16")
@pytest.mark.parametrize("positions", [1, 64, 700])
def test_operands_of_bfloat16(positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients within the rounding of operands; blocks are held until there are several, the last fewer."""
    monkeypatch.setattr(loss_module, "_BLOCK_LOGITS", 1)
    torch.manual_seed(0)
    hidden_ND, embedding_VD = (torch.randn(size, 12, requires_grad=True) for size in (positions, 50))
    target_N = torch.randint(50, (positions,))
    with bfloat16_operands(True):
        mean = mean_loss(hidden_ND, embedding_VD, target_N, 30.0)
    expected = plain(hidden_ND, embedding_VD, target_N, 30.0).mean()
    torch.testing.assert_close(mean.double(), expected, atol=0.02, rtol=0)
    for mine, its in zip(*(torch.autograd.grad(x, [hidden_ND, embedding_VD]) for x in (mean, expected)), strict=True):
        assert float((mine - its).norm() / its.norm()) < 0.01


def test_a_large_vocabulary_at_the_largest_softcap_is_finite() -> None:
    """All logits at the softcap."""
    embedding_VD = torch.full((65_536, 2), 1e4)
    found_N = token_losses(torch.ones(2, 2), embedding_VD, torch.tensor([0, 9]), MAX_SOFTCAP)
    torch.testing.assert_close(found_N, torch.full((2,), math.log(65_536)))
    assert not blocks_suit(torch.ones(2, 2), embedding_VD, MAX_SOFTCAP + 1)


@pytest.mark.parametrize("techniques", [{}, {"asymmetric_softcap": {}}])
@pytest.mark.parametrize("cap", [30.0, 60.0])
def test_the_model_gives_one_loss_in_every_way(techniques: dict[str, object], cap: float) -> None:
    """Each token's with gradients and without, the mean, some positions skipped."""
    torch.manual_seed(0)
    sizes = {"n_layers": 1, "d_model": 8, "n_heads": 1, "n_kv_heads": 1, "d_ff": 8, "vocab_size": 20}
    spec = ModelSpec.from_json({**sizes, "logit_softcap": cap, "techniques": techniques})
    model, tokens_BT = GPT(spec), torch.randint(2, 20, (2, 9))
    tokens_BT, target_BT = tokens_BT[:, :-1], tokens_BT[:, 1:]
    with_gradients = model(tokens_BT, target_BT, 1, skip=3)
    assert with_gradients.shape == (2, 5)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens_BT, target_BT, 1, skip=3), with_gradients.detach())
    mean = model(tokens_BT, target_BT, 1, skip=3, reduce=True)
    torch.testing.assert_close(mean, with_gradients.mean())
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(mean, parameters, allow_unused=True)
    expected = torch.autograd.grad(with_gradients.mean(), parameters, allow_unused=True)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-4)


def test_no_bias() -> None:
    """The mean over many positions is right to far more digits than one loss is: roundings fall to both sides."""
    torch.manual_seed(0)
    hidden_ND, embedding_VD, target_N = torch.randn(20_000, 12), torch.randn(50, 12), torch.randint(50, (20_000,))
    found_N = token_losses(hidden_ND, embedding_VD, target_N, 30.0)
    expected_N = plain(hidden_ND.double(), embedding_VD.double(), target_N, 30.0)
    assert abs(float((found_N.double() - expected_N).mean())) < 1e-7
