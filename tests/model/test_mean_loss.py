"""The mean loss in blocks equals the plain one, and so do its gradients."""

import pytest
import torch

from bytecap.core.products import bfloat16_operands, has_bfloat16
from bytecap.model import loss as loss_module
from bytecap.model.gpt import GPT
from bytecap.model.loss import blocks_suit
from bytecap.model.mean_loss import mean_loss, mean_loss_in_blocks
from bytecap.model.spec import ModelSpec
from tests.model.test_loss import CASES, make_case, plain

pytestmark = pytest.mark.skipif(
    not blocks_suit(torch.ones(1, 1), torch.ones(1, 1), 1.0), reason="this PyTorch has no oneDNN"
)


@pytest.mark.parametrize("positions, scale, cap", CASES)
def test_values_and_gradients(positions: int, scale: float, cap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks, the last one shorter; logits small and at the softcap; a gradient that is not 1."""
    monkeypatch.setattr(loss_module, "_BLOCK_LOGITS", 1)
    hidden_ND, embedding_VD, target_N = make_case(positions, scale)
    expected_N = plain(hidden_ND, embedding_VD, target_N, cap)
    mean = mean_loss_in_blocks(hidden_ND, embedding_VD, target_N, cap)
    torch.testing.assert_close(mean.double(), expected_N.mean(), atol=2e-5, rtol=1e-5)
    expected = torch.autograd.grad(0.3 * expected_N.mean(), [hidden_ND, embedding_VD])
    found = torch.autograd.grad(0.3 * mean, [hidden_ND, embedding_VD])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.skipif(not has_bfloat16(), reason="this processor multiplies no bfloat16")
@pytest.mark.parametrize("positions", [1, 64, 700])
def test_operands_of_bfloat16(positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients within the rounding of operands; blocks are held until there are several, the last fewer."""
    monkeypatch.setattr(loss_module, "_BLOCK_LOGITS", 1)
    hidden_ND, embedding_VD, target_N = make_case(positions, 1.0)
    with bfloat16_operands(True):
        mean = mean_loss_in_blocks(hidden_ND, embedding_VD, target_N, 30.0)
    expected = plain(hidden_ND, embedding_VD, target_N, 30.0).mean()
    torch.testing.assert_close(mean.double(), expected, atol=0.02, rtol=0)
    for mine, its in zip(*(torch.autograd.grad(x, [hidden_ND, embedding_VD]) for x in (mean, expected)), strict=True):
        assert float((mine - its).norm() / its.norm()) < 0.01


@pytest.mark.parametrize("techniques", [{}, {"asymmetric_softcap": {}}])
@pytest.mark.parametrize("cap", [30.0, 60.0])
def test_it_is_the_mean_of_what_the_model_gives(techniques: dict[str, object], cap: float) -> None:
    """Value and gradients, where blocks are used and where they are not."""
    torch.manual_seed(0)
    sizes = {"n_layers": 1, "d_model": 8, "n_heads": 1, "n_kv_heads": 1, "d_ff": 8, "vocab_size": 20}
    model = GPT(ModelSpec.from_json({**sizes, "logit_softcap": cap, "techniques": techniques}))
    rows_BT = torch.randint(2, 20, (2, 9))
    tokens_BT, target_BT = rows_BT[:, :-1], rows_BT[:, 1:]
    expected_mean, mean = model(tokens_BT, target_BT, 1).mean(), mean_loss(model, tokens_BT, target_BT, 1)
    torch.testing.assert_close(mean, expected_mean)
    parameters = list(model.parameters())
    found = torch.autograd.grad(mean, parameters, allow_unused=True)
    expected = torch.autograd.grad(expected_mean, parameters, allow_unused=True)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-4)
