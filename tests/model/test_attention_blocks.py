"""Attention in blocks equals attention with a mask of all pairs, and so do its gradients."""

import pytest
import torch
import torch.nn.functional as F

from bytecap.core.products import suits
from bytecap.model import attention_blocks
from bytecap.model.attention_blocks import attend, query_blocks
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec

pytestmark = pytest.mark.skipif(not suits(torch.ones(1, 1)), reason="this PyTorch has no oneDNN")


def document_numbers(sequences: int, positions: int, share: float) -> torch.Tensor:
    return (torch.rand(sequences, positions) < share).cumsum(1)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("sizes", [(2, 1, 1, 40, 6), (3, 4, 2, 33, 4), (1, 3, 3, 7, 8), (2, 6, 1, 16, 2)])
@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize(("queries", "reach"), [(1.0, None), (0.5, None), (0.5, 5), (0.0, 13)])
def test_values_and_gradients(
    share: float, sizes: tuple[int, ...], isolated: bool, queries: float, reach: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Blocks of at most 16 queries; heads that share keys; documents that end inside a block, or at once.

    Queries are all positions, the second half, or the last alone; each may see all before it, or `reach` positions.
    """
    monkeypatch.setattr(attention_blocks, "ROWS", 16)
    monkeypatch.setattr(attention_blocks, "_LONG", 35)
    monkeypatch.setattr(attention_blocks, "_ROWS_OF_LONG", 8)
    attention_blocks._later.cache_clear()
    attention_blocks._outside.cache_clear()
    torch.manual_seed(0)
    sequences, heads, groups, positions, width = sizes
    document_BT = document_numbers(sequences, positions, share)
    query, key, value = (
        torch.randn(sequences, positions, n, width).transpose(1, 2).requires_grad_() for n in (heads, groups, groups)
    )
    first = min(positions - 1, round((1 - queries) * positions))
    seen_B1TT = torch.ones(positions, positions, dtype=torch.bool).tril().expand(sequences, 1, -1, -1)
    if reach is not None:
        seen_B1TT = seen_B1TT.triu(1 - reach)
    if isolated:
        seen_B1TT = seen_B1TT & (document_BT[:, None, :, None] == document_BT[:, None, None, :])
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=seen_B1TT, enable_gqa=True)[:, :, first:]
    blocks = query_blocks(document_BT, isolated=isolated, first=first, reach=reach)
    found = attend(query[:, :, first:], key, value, blocks)
    weight = torch.randn_like(expected)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    gradients = [torch.autograd.grad((one * weight).sum(), (query, key, value)) for one in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)
    attention_blocks._later.cache_clear()
    attention_blocks._outside.cache_clear()


def test_other_documents_are_left_out() -> None:
    """A block begins with its first document, at a multiple of its rows."""
    document_BT = torch.zeros(1, 1024, dtype=torch.long)
    document_BT[:, 700:] = 1
    found = [(b.start, b.begin, b.end, b.hidden_RL is None) for b in query_blocks(document_BT)]
    assert found[4] == (0, 512, 640, True) and found[5] == (0, 640, 768, False)
    assert found[6] == (640, 768, 896, False) and len(found) == 8
    assert all(b.start == 0 and b.hidden_RL is None for b in query_blocks(document_BT, isolated=False))


@pytest.mark.parametrize("across", [False, True])
def test_the_model_is_the_same_with_a_mask(across: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole model, with either way of attention."""
    torch.manual_seed(0)
    spec = ModelSpec(n_layers=2, d_model=16, n_heads=2, n_kv_heads=1, d_ff=16, vocab_size=30, across_documents=across)
    model, tokens_BT = GPT(spec), torch.randint(0, 30, (3, 50))
    for block in model.blocks:
        torch.nn.init.normal_(block.attention.out.weight)  # type: ignore[union-attr, arg-type]
    found = []
    for size in (1, 1 << 40):
        monkeypatch.setattr(attention_blocks, "_MIN_SIZE", size)
        found.append(model.hidden(tokens_BT, 1))
        assert (model._context(tokens_BT, 1).mask.blocks is None) == (size > 1)
    torch.testing.assert_close(*found)
