"""The value embedding equals its formula written out."""

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques.base import Visit
from bytecap.model.techniques.value_embedding import ValueEmbedding, ValueEmbeddingConfig

SPEC = ModelSpec(vocab_size=9, n_layers=4, d_model=24, n_heads=6, n_kv_heads=2, d_ff=8, techniques={})


def test_equals_the_slow_formula() -> None:
    """Head by head, position by position; the last two of four blocks share the table and have a factor each."""
    torch.manual_seed(0)
    technique = ValueEmbedding(ValueEmbeddingConfig(last_blocks=2, width=5), SPEC).requires_grad_(False)
    tokens = [[1, 5, 6], [4, 1, 8]]
    value_BGTK = torch.randn(2, 2, 3, 4)
    start = GPT(SPEC)._context(torch.tensor(tokens), 1)
    assert torch.equal(technique.value(value_BGTK, Visit(3, 3, 4), start), value_BGTK)
    for parameter in technique.parameters():
        parameter.normal_()
    context = GPT(SPEC)._context(torch.tensor(tokens), 1)
    assert technique.value(value_BGTK, Visit(1, 1, 4), context) is value_BGTK
    for block in (2, 3):
        found_BGTK = technique.value(value_BGTK, Visit(block, block, 4), context)
        for b, row in enumerate(tokens):
            for t, token in enumerate(row):
                added = (technique.projection.weight @ technique.table_VW[token]).view(2, 4)
                expected = value_BGTK[b, :, t] + technique.scale_E[block - 2] * added
                torch.testing.assert_close(found_BGTK[b, :, t], expected)


def test_values_at_the_start() -> None:
    """A table of small numbers, a projection at zero, factors of a tenth, in 2 of 11 blocks."""
    technique = ValueEmbedding(ValueEmbeddingConfig(), ModelSpec(vocab_size=999, n_layers=11))
    assert 0.0099 < technique.table_VW.std().item() < 0.0101 and technique.blocks == range(9, 11)
    assert not technique.projection.weight.any() and technique.projection.weight.shape == (256, 128)
    torch.testing.assert_close(technique.scale_E, torch.full((2,), 0.1))


def test_too_many_blocks_are_refused() -> None:
    """More blocks than there are."""
    with pytest.raises(ConfigError, match=r"model\.techniques\.value_embedding: last_blocks is 5"):
        ModelConfig(n_layers=4, techniques={"value_embedding": ValueEmbeddingConfig(last_blocks=5)})
