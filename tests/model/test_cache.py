"""A stream through a cache equals attention with each position's own window, written as one mask."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from bytecap.model import attention_blocks
from bytecap.model.attention_mask import AttentionMask
from bytecap.model.cache import Cache
from bytecap.model.gpt import GPT, document_numbers
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques import with_defaults
from bytecap.model.techniques.base import Context
from tests.model.test_gpt import SPEC, random_model

BOS, CONTEXT = 1, 7
TECHNIQUES = with_defaults("smear_gate", "bigram_hash", "unet_skips", "residual_mix")
SPECS = {
    "baseline": dataclasses.replace(SPEC, techniques=TECHNIQUES),
    "across": dataclasses.replace(SPEC, techniques=TECHNIQUES, across_documents=True),
    "llama": ModelSpec(
        vocab_size=50, n_layers=2, d_model=16, n_heads=4, n_kv_heads=2, d_ff=24, block="llama", activation="swiglu",
        logit_softcap=0.0, techniques={}, rope_dims=2,
    ),
}  # fmt: skip


def random_tokens(rows: int = 3, positions: int = 40) -> Tensor:
    torch.manual_seed(1)
    tokens_BT = torch.randint(2, 50, (rows, positions))
    tokens_BT[torch.rand(rows, positions) < 0.08] = BOS
    return tokens_BT


def with_one_mask(model: GPT, tokens_BT: Tensor, context: int, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """All positions at once, each seeing `context` of its document."""
    document_BT = document_numbers(tokens_BT, BOS)
    place_T = torch.arange(tokens_BT.size(1))
    distance_TT = place_T[:, None] - place_T
    seen_BTT = ((distance_TT >= 0) & (distance_TT < context)).expand(len(tokens_BT), -1, -1)
    if not model.spec.across_documents:
        seen_BTT = seen_BTT & (document_BT[:, :, None] == document_BT[:, None])
    plain = model._context

    def masked(*arguments: Any, **options: Any) -> Context:
        return dataclasses.replace(plain(*arguments, **options), mask=AttentionMask(seen_BTT[:, None]))

    monkeypatch.setattr(model, "_context", masked)
    hidden_BTD = model.hidden(tokens_BT, BOS)
    monkeypatch.undo()
    return hidden_BTD


def streamed(model: GPT, tokens_BT: Tensor, size: int, context: int = CONTEXT) -> Tensor:
    cache = Cache(context)
    return torch.cat([model.hidden(chunk_BT, BOS, cache=cache) for chunk_BT in tokens_BT.split(size, dim=1)], dim=1)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("kind", list(SPECS))
def test_each_position_sees_its_own_window(kind: str, blocks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the chunks: one position, less than the context, more, all."""
    model, tokens_BT = random_model(SPECS[kind]), random_tokens()
    expected_BTD = with_one_mask(model, tokens_BT, CONTEXT, monkeypatch)
    assert not torch.allclose(expected_BTD, model.hidden(tokens_BT, BOS), atol=1e-3), "the context must be felt"
    monkeypatch.setattr(attention_blocks, "_MIN_SIZE", 1 if blocks else 1 << 40)
    for size in (1, 3, 7, 16, 40):
        torch.testing.assert_close(streamed(model, tokens_BT, size), expected_BTD, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", list(SPECS))
def test_gradients_are_those_of_the_chunk(kind: str) -> None:
    """The gradient through the last chunk is that of a function of the parameters whose past is held still."""
    model, tokens_BT = random_model(SPECS[kind]).double(), random_tokens(2, 12)
    cache = Cache(CONTEXT)
    with torch.no_grad():
        model.hidden(tokens_BT[:, :8], BOS, cache=cache)

    def loss() -> Tensor:
        return model.hidden(tokens_BT[:, 8:], BOS, cache=cache.copy()).double().square().mul(torch.arange(16)).sum()

    weight = model.blocks[0].attention.value.weight  # type: ignore[union-attr]
    (gradient,) = torch.autograd.grad(loss(), [weight])  # type: ignore[arg-type]
    with torch.no_grad():
        step = torch.randn_like(weight) * 1e-3  # type: ignore[arg-type]
        weight.add_(step)  # type: ignore[operator]
        above = loss()
        weight.sub_(2 * step)  # type: ignore[operator]
        below = loss()
    assert float((above - below) / 2) == pytest.approx(float((gradient * step).sum()), rel=2e-2)


def test_a_copy_goes_on_by_itself() -> None:
    """What follows a copy changes neither the other's future nor its own past."""
    model, tokens_BT = random_model(SPECS["baseline"]), random_tokens(1, 12)
    cache = Cache(CONTEXT)
    model.hidden(tokens_BT[:, :6], BOS, cache=cache)
    aside = cache.copy()
    model.hidden(tokens_BT[:, 2:9], BOS, cache=aside)
    torch.testing.assert_close(
        model.hidden(tokens_BT[:, 6:], BOS, cache=cache), streamed(model, tokens_BT, 6)[:, 6:], atol=0, rtol=0
    )


def test_rows_are_given_up() -> None:
    """Those that are kept go on as if alone."""
    model, tokens_BT = random_model(SPECS["baseline"]), random_tokens()
    cache = Cache(CONTEXT)
    cache.keep([0])  # nothing to keep yet
    model.hidden(tokens_BT[:, :9], BOS, cache=cache)
    cache.keep([2, 0])
    found_BTD = model.hidden(tokens_BT[[2, 0], 9:], BOS, cache=cache)
    torch.testing.assert_close(found_BTD, streamed(model, tokens_BT, 9)[[2, 0], 9:], atol=1e-4, rtol=1e-4)


def test_what_cannot_be() -> None:
    """No context, and another number of rows than before."""
    with pytest.raises(ValueError, match="keeps nothing"):
        Cache(0)
    cache, model = Cache(4), random_model()
    model.hidden(random_tokens(2, 3), BOS, cache=cache)
    with pytest.raises(ValueError, match=r"sequences \(1\) than the cache \(2\)"):
        model.hidden(random_tokens(1, 3), BOS, cache=cache)


@torch.no_grad()
def test_positions_may_grow() -> None:
    """After a million positions the logits are those of a beginning."""
    model, tokens_BT = random_model(SPECS["across"]), random_tokens(1, 20)
    near, far = Cache(CONTEXT), Cache(CONTEXT)
    far.positions = 1_000_000
    for cache in (near, far):
        model.hidden(tokens_BT[:, :10], BOS, cache=cache)
    found = [model.hidden(tokens_BT[:, 10:], BOS, cache=cache) for cache in (near, far)]
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)
