"""BigramHash equals its formula written out, and begins anew with each document."""

import torch

from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.bigram_hash import BigramHash, BigramHashConfig

SPEC = ModelSpec(vocab_size=1024, n_layers=1, d_model=6, n_heads=1, n_kv_heads=1, d_ff=8, techniques={})


def slow_bucket(row: list[int], place: int, buckets: int) -> int:
    if place == 0 or row[place] == 1:
        return buckets - 1
    return ((36313 * row[place]) ^ (27191 * row[place - 1])) % (buckets - 1)


def test_equals_the_slow_formula() -> None:
    """Position by position; a document's first token has the last bucket, and id 0 before a token is a neighbour."""
    torch.manual_seed(0)
    tokens = [[1, 5, 0, 7, 1, 1023], [4, 1, 1, 5, 0, 0]]
    context = GPT(SPEC)._context(torch.tensor(tokens), 1)
    embedded_BTD = torch.randn(2, 6, 6)
    for width in (3, 6):
        technique = BigramHash(BigramHashConfig(buckets=11, width=width, scale=0.5), SPEC).requires_grad_(False)
        assert torch.equal(technique.embed(embedded_BTD, context), embedded_BTD)
        table_NW = technique.table_NW.normal_()
        found_BTD = technique.embed(embedded_BTD, context)
        for b, row in enumerate(tokens):
            for t in range(len(row)):
                added = table_NW[slow_bucket(row, t, 11)]
                if width == 3:
                    added = technique.projection.weight @ added  # type: ignore[operator]
                torch.testing.assert_close(found_BTD[b, t], embedded_BTD[b, t] + 0.5 * added)


def test_published_size() -> None:
    """2048 rows of 128, a map to 512 and one factor."""
    spec = ModelSpec(vocab_size=1024, n_layers=1, techniques={})
    with torch.device("meta"):
        technique = BigramHash(BigramHashConfig(), spec)
    assert sum(p.numel() for p in technique.parameters()) == 2048 * 128 + 128 * 512 + 1
