"""Cross-entropy in blocks equals the plain one."""

import math

import pytest
import torch
import torch.nn.functional as F

from bytecap.model import loss as loss_module
from bytecap.model.gpt import GPT
from bytecap.model.loss import MAX_SOFTCAP, blocks_suit, token_losses
from bytecap.model.spec import ModelSpec

pytestmark = pytest.mark.skipif(
    not blocks_suit(torch.ones(1, 1), torch.ones(1, 1), 1.0), reason="this PyTorch has no oneDNN"
)

CASES = [(1, 1.0, 30.0), (65, 1.0, 15.0), (200, 8.0, 30.0), (130, 20.0, 36.0)]
"""Positions, scale of the embedding, softcap."""


def make_case(positions: int, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states (N, 12), an embedding (50, 12) and targets (N,), drawn at random."""
    torch.manual_seed(0)
    hidden_ND = torch.randn(positions, 12, requires_grad=True)
    embedding_VD = (scale * torch.randn(50, 12)).requires_grad_()
    return hidden_ND, embedding_VD, torch.randint(50, (positions,))


def plain(hidden_ND: torch.Tensor, embedding_VD: torch.Tensor, target_N: torch.Tensor, cap: float) -> torch.Tensor:
    """All logits at once, in double precision."""
    logits_NV = hidden_ND.double() @ embedding_VD.double().T
    return F.cross_entropy(cap * torch.tanh(logits_NV / cap), target_N, reduction="none")


@pytest.mark.parametrize("positions, scale, cap", CASES)
def test_values(positions: int, scale: float, cap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks, the last one shorter; logits small and at the softcap."""
    monkeypatch.setattr(loss_module, "_BLOCK_LOGITS", 1)
    hidden_ND, embedding_VD, target_N = make_case(positions, scale)
    expected_N = plain(hidden_ND, embedding_VD, target_N, cap)
    found_N = token_losses(hidden_ND, embedding_VD, target_N, cap)
    torch.testing.assert_close(found_N.double(), expected_N, atol=2e-5, rtol=1e-5)


def test_a_large_vocabulary_at_the_largest_softcap_is_finite() -> None:
    """All logits at the softcap."""
    embedding_VD = torch.full((65_536, 2), 1e4)
    found_N = token_losses(torch.ones(2, 2), embedding_VD, torch.tensor([0, 9]), MAX_SOFTCAP)
    torch.testing.assert_close(found_N, torch.full((2,), math.log(65_536)))
    assert not blocks_suit(torch.ones(2, 2), embedding_VD, MAX_SOFTCAP + 1)


@pytest.mark.parametrize("techniques", [{}, {"asymmetric_softcap": {}}])
@pytest.mark.parametrize("cap", [30.0, 60.0])
def test_the_model_gives_one_loss_in_every_way(techniques: dict[str, object], cap: float) -> None:
    """Each token's with gradients and without, some positions skipped."""
    torch.manual_seed(0)
    sizes = {"n_layers": 1, "d_model": 8, "n_heads": 1, "n_kv_heads": 1, "d_ff": 8, "vocab_size": 20}
    spec = ModelSpec.from_json({**sizes, "logit_softcap": cap, "techniques": techniques})
    model, rows_BT = GPT(spec), torch.randint(2, 20, (2, 9))
    tokens_BT, target_BT = rows_BT[:, :-1], rows_BT[:, 1:]
    with_gradients_BT = model(tokens_BT, target_BT, 1, skip=3)
    logits_BTV = model.logits(model.hidden(tokens_BT, 1))
    expected_BT = F.cross_entropy(logits_BTV.mT, target_BT, reduction="none")[:, 3:]
    torch.testing.assert_close(with_gradients_BT, expected_BT)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens_BT, target_BT, 1, skip=3), expected_BT.detach())


def test_no_bias() -> None:
    """The mean over many positions is right to far more digits than one loss is: roundings fall to both sides."""
    torch.manual_seed(0)
    hidden_ND, embedding_VD, target_N = torch.randn(20_000, 12), torch.randn(50, 12), torch.randint(50, (20_000,))
    found_N = token_losses(hidden_ND, embedding_VD, target_N, 30.0)
    expected_N = plain(hidden_ND.double(), embedding_VD.double(), target_N, 30.0)
    assert abs(float((found_N.double() - expected_N).mean())) < 1e-7
