"""The query-key convolution equals its formula written out, begins anew with each document, and finds what followed."""

import pytest
import torch
from torch import Tensor

from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Visit
from bytecap.model.techniques.query_key_convolution import QueryKeyConvolution, QueryKeyConvolutionConfig

SPEC = ModelSpec(vocab_size=9, n_layers=2, d_model=8, n_heads=2, n_kv_heads=1, d_ff=8, techniques={})
TOKENS = [[1, 5, 6, 1, 7, 8], [4, 1, 1, 5, 8, 2]]


@pytest.mark.parametrize("taps", [1, 3, 7])
def test_equals_the_slow_formula(taps: int) -> None:
    """Position by position; nothing comes from beyond a document's first token, also in the middle of a row."""
    torch.manual_seed(0)
    convolution = QueryKeyConvolution(QueryKeyConvolutionConfig(taps=taps), SPEC).requires_grad_(False)
    context = GPT(SPEC)._context(torch.tensor(TOKENS), 1)
    query_BTHK, key_BTGK, visit = torch.randn(2, 6, 2, 4), torch.randn(2, 6, 1, 4), Visit(1, 1, 2)
    assert torch.equal(convolution.query(query_BTHK, visit, context), query_BTHK)
    convolution.query_taps_LNHK.normal_()
    convolution.key_taps_LNGK.normal_()
    for found_BTHK, x_BTHK, taps_NHK in (
        (convolution.query(query_BTHK, visit, context), query_BTHK, convolution.query_taps_LNHK[1]),
        (convolution.key(key_BTGK, visit, context), key_BTGK, convolution.key_taps_LNGK[1]),
    ):
        torch.testing.assert_close(found_BTHK, slow_convolution(x_BTHK, taps_NHK), atol=1e-5, rtol=1e-5)


def slow_convolution(x_BTHK: Tensor, taps_NHK: Tensor) -> Tensor:
    found_BTHK = torch.zeros_like(x_BTHK)
    for b, row in enumerate(TOKENS):
        for t in range(len(row)):
            for k, weight_HK in enumerate(taps_NHK):
                if t - k < 0 or 1 in row[t - k + 1 : t + 1]:  # a document begins between the two
                    break
                found_BTHK[b, t] += weight_HK * x_BTHK[b, t - k]
    return found_BTHK


def test_one_block_finds_what_followed() -> None:
    """With keys that hold their left neighbour alone, a query for a token attends most to what came after it."""
    torch.manual_seed(0)
    spec = ModelSpec(vocab_size=32, n_layers=1, d_model=64, n_heads=1, n_kv_heads=1, d_ff=8, techniques={})
    convolution = QueryKeyConvolution(QueryKeyConvolutionConfig(taps=1), spec).requires_grad_(False)
    convolution.key_taps_LNGK[:, 0], convolution.key_taps_LNGK[:, 1] = 0.0, 1.0
    tokens_BT = torch.tensor([[1, 7, 20, 9, 4, 7]])
    stream_BTGK = torch.randn(32, 64)[tokens_BT].unsqueeze(2)
    visit, context = Visit(0, 0, 1), GPT(spec)._context(tokens_BT, 1)
    query_BTHK, key_BTGK = convolution.query(stream_BTGK, visit, context), convolution.key(stream_BTGK, visit, context)
    scores_T = key_BTGK[0, :, 0] @ query_BTHK[0, -1, 0]
    assert tokens_BT[0, int(scores_T.argmax())] == 20
