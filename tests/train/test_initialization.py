"""Starts of weights equal slow ones: Gram and Schmidt row by row, a sum of outer products."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from bytecap.model.gpt import GPT
from bytecap.model.layers import Linear
from bytecap.model.techniques import with_defaults
from bytecap.train.initialization import initialize
from tests.model.test_gpt import SPEC

TECHNIQUES = with_defaults("unet_skips", "residual_mix", "bigram_hash", "value_embedding")


def fresh(init: str) -> GPT:
    torch.manual_seed(3)
    return GPT(dataclasses.replace(SPEC, init=init, techniques=TECHNIQUES))  # type: ignore[arg-type]


def gram_schmidt(drawn_OI: Tensor) -> Tensor:
    """Each row or column of the fewer kind, less its parts along the earlier ones, to length 1."""
    wide = drawn_OI.size(0) < drawn_OI.size(1)
    vectors = (drawn_OI if wide else drawn_OI.T).double().tolist()
    done: list[list[float]] = []
    for vector in vectors:
        left = list(vector)
        for earlier in done:
            along = sum(a * b for a, b in zip(left, earlier, strict=True))
            left = [a - along * b for a, b in zip(left, earlier, strict=True)]
        length = math.sqrt(sum(a * a for a in left))
        done.append([a / length for a in left])
    return torch.tensor(done) if wide else torch.tensor(done).T


def test_orthogonal_equals_gram_and_schmidt() -> None:
    """Map by map from the same draws; maps at zero stay, the bigrams' projection is divided by √(2 L)."""
    before = {name: p.detach().clone() for name, p in fresh("orthogonal").named_parameters()}
    model = fresh("orthogonal")
    state = torch.get_rng_state()
    initialize(model)
    torch.set_rng_state(state)
    maps = {f"{name}.weight": module for name, module in model.named_modules() if isinstance(module, Linear)}
    assert len(maps) == 6 * SPEC.n_layers + 2
    moved = set()
    for name, parameter in model.named_parameters():
        if name not in maps or not before[name].any():
            assert torch.equal(parameter, before[name]), name
            continue
        moved.add(name.split(".", 2)[-1])
        expected = gram_schmidt(torch.empty_like(parameter).normal_())
        if "bigram" in name:
            expected = expected / math.sqrt(2 * SPEC.n_layers)
        torch.testing.assert_close(parameter.detach(), expected, atol=1e-5, rtol=1e-4)
    names = ("attention.query", "attention.key", "attention.value", "mlp.up")
    assert moved == {*(f"{name}.weight" for name in names), "projection.weight"}


def test_overtone_equals_a_sum_of_outer_products() -> None:
    """The k-th pair of singular vectors with the first singular value over √k; nothing else moves."""
    drawn, model = fresh("overtone"), initialize(fresh("overtone"))
    table_VD = drawn.embedding.detach().double()
    values, vectors_DN = torch.linalg.eigh(table_VD.T @ table_VD)
    largest, expected = math.sqrt(float(values[-1])), torch.zeros_like(table_VD)
    for k in range(1, SPEC.d_model + 1):
        right_D = vectors_DN[:, -k]
        left_V = table_VD @ right_D / math.sqrt(float(values[-k]))
        expected += largest / math.sqrt(k) * torch.outer(left_V, right_D)
    torch.testing.assert_close(model.embedding.double(), expected, atol=1e-6, rtol=1e-4)
    assert not torch.allclose(model.embedding, drawn.embedding, rtol=0.1)
    for (name, one), other in zip(model.named_parameters(), drawn.parameters(), strict=True):
        assert name == "embedding" or torch.equal(one, other), name


def test_default_draws_nothing() -> None:
    """The same weights and the same generator afterwards."""
    model = fresh("default")
    state = torch.get_rng_state()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert initialize(model) is model and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("init", ["orthogonal", "overtone"])
def test_a_changed_start_still_predicts_from_the_token_alone(init: str) -> None:
    """Output maps stay at zero."""
    model = initialize(GPT(dataclasses.replace(SPEC, init=init)))  # type: ignore[arg-type]
    one, other = (model.hidden(torch.tensor([[t, 6, 7]]), 1)[0, 2] for t in (5, 9))
    torch.testing.assert_close(one, other)
