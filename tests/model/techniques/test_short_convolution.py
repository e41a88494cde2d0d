"""The short convolution equals its formula written out, and begins anew with each document."""

import dataclasses

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Visit
from bytecap.model.techniques.short_convolution import ShortConvolution, ShortConvolutionConfig

SPEC = ModelSpec(vocab_size=9, n_layers=2, d_model=4, n_heads=1, n_kv_heads=1, d_ff=8, techniques={})


def test_only_some_blocks() -> None:
    """A block that is not chosen reads its stream as it is, and has no weights; those that do not exist are refused."""
    spec = dataclasses.replace(SPEC, n_layers=4)
    convolution = ShortConvolution(ShortConvolutionConfig(taps=2, blocks="1-2 of 4"), spec)
    assert convolution.taps_LND.shape == (2, 2, 4)
    convolution.requires_grad_(False).taps_LND.fill_(1.0)
    context, stream_BTD = GPT(spec)._context(torch.tensor([[1, 5, 6]]), 1), torch.ones(1, 3, 4)
    sums = [convolution.before(stream_BTD, Visit(b, b, 4), context)[0, :, 0].tolist() for b in range(4)]
    assert sums == [[1, 1, 1], [1, 2, 3], [1, 2, 3], [1, 1, 1]]
    with pytest.raises(ConfigError, match='blocks is "3-4"'):
        ShortConvolutionConfig(blocks="3-4").selected_blocks(spec)


@pytest.mark.parametrize("taps", [1, 3, 7])
def test_equals_the_slow_formula(taps: int) -> None:
    """Position by position; nothing comes from beyond a document's first token, also in the middle of a row."""
    torch.manual_seed(0)
    convolution = ShortConvolution(ShortConvolutionConfig(taps=taps), SPEC)
    assert not convolution.taps_LND.any()
    convolution.requires_grad_(False).taps_LND.normal_()
    tokens = [[1, 5, 6, 1, 7, 8], [4, 1, 1, 5, 8, 2]]
    context = GPT(SPEC)._context(torch.tensor(tokens), 1)
    stream_BTD = torch.randn(2, 6, 4)
    for block in range(2):
        found_BTD = convolution.before(stream_BTD, Visit(block, block, 2), context)
        for b, row in enumerate(tokens):
            for t in range(len(row)):
                expected_D = stream_BTD[b, t].clone()
                for k in range(1, taps + 1):
                    if t - k < 0 or 1 in row[t - k + 1 : t + 1]:  # a document begins between the two
                        break
                    expected_D += convolution.taps_LND[block, k - 1] * stream_BTD[b, t - k]
                torch.testing.assert_close(found_BTD[b, t], expected_D, atol=1e-5, rtol=1e-5)
