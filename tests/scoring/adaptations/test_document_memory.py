"""The memory of a document as the engine calls it: rows, chunks of any size, resets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.scoring.adaptations import build_adaptations
from bytecap.scoring.adaptations.document_memory import DocumentMemory, DocumentMemoryConfig
from bytecap.scoring.engine import Engine, EnginePredictor

VOCAB, WIDTH, BOS = 50, 32, 1
SPEC = ModelSpec(vocab_size=VOCAB, d_model=WIDTH, n_layers=2, n_heads=1, n_kv_heads=1, d_ff=32)


def memory(rows: int) -> DocumentMemory:
    """One that is about to begin."""
    made = DocumentMemory(DocumentMemoryConfig())
    made.begin(GPT(SPEC), rows, BOS)
    return made


def given(rows: int, positions: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens of documents that repeat themselves, states and log probabilities of what follows."""
    random = torch.Generator().manual_seed(seed)
    tokens_BT = torch.randint(2, VOCAB, (rows, positions // 3 + 1), generator=random).repeat(1, 3)[:, :positions]
    tokens_BT[:, 0] = BOS
    states_BTD = torch.randn(rows, positions, WIDTH, generator=random)
    logits_BTV = torch.randn(rows, positions, VOCAB, generator=random)
    return tokens_BT, states_BTD, logits_BTV.log_softmax(dim=-1)


def mixed(made: DocumentMemory, tokens_BT: Tensor, states_BTD: Tensor, log_probs_BTV: Tensor) -> Tensor:
    """One chunk, as the engine asks for it."""
    made.raw_logits(log_probs_BTV, states_BTD)
    return made.mix(log_probs_BTV, tokens_BT)


def test_chunks_of_any_size_give_the_same() -> None:
    """But for rounding of the states' products, also where the tables grow on the way."""
    tokens, states, log_probs = given(2, 2500)
    whole = mixed(memory(2), tokens, states, log_probs)
    made, parts = memory(2), []
    for chunk in zip(*(values.split(700, dim=1) for values in (tokens, states, log_probs)), strict=True):
        parts.append(mixed(made, *chunk))
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.double().exp().sum(dim=-1), torch.ones(2, 2500).double(), atol=1e-6, rtol=0)


def test_it_helps_where_a_document_repeats_itself() -> None:
    """The second and third time, its tokens are likelier than by the model alone."""
    tokens, states, log_probs = given(1, 301)
    targets = tokens[:, 1:, None]
    before, after = (
        log_probs[:, :-1].gather(-1, targets),
        mixed(memory(1), tokens, states, log_probs)[:, :-1].gather(-1, targets),
    )
    assert after[:, 150:].mean() > before[:, 150:].mean() + 1


def test_lanes_do_not_know_each_other() -> None:
    """What is in another row changes no bit."""
    tokens, states, log_probs = given(2, 80)
    alone = mixed(memory(1), tokens[:1], states[:1], log_probs[:1])
    assert torch.equal(mixed(memory(2), tokens, states, log_probs)[:1], alone)


def test_a_lane_is_forgotten_alone() -> None:
    """After `reset` a row is as new, and the other goes on."""
    first, second = given(2, 80), given(2, 80, seed=7)
    made = memory(2)
    mixed(made, *first)
    made.reset(1)
    found = mixed(made, *second)
    assert torch.equal(found[1:], mixed(memory(1), *(values[1:] for values in second)))
    assert not torch.equal(found[:1], mixed(memory(1), *(values[:1] for values in second)))


def test_lanes_that_are_given_up() -> None:
    """What was row 2 goes on as row 0."""
    first, second = given(3, 60), given(1, 60, seed=3)
    made = memory(3)
    mixed(made, *first)
    made.keep([2])
    alone = memory(1)
    mixed(alone, *(values[2:] for values in first))
    assert torch.equal(mixed(made, *second), mixed(alone, *second))


@pytest.mark.parametrize("place", [0, 40])
def test_no_later_input_has_a_part(place: int) -> None:
    """Inputs behind a position change nothing there."""
    tokens, states, log_probs = given(1, 80)
    before = mixed(memory(1), tokens, states, log_probs)[:, : place + 1]
    tokens = tokens.clone()
    tokens[:, place + 1 :] = 5
    assert torch.equal(mixed(memory(1), tokens, states, log_probs)[:, : place + 1], before)


def test_the_model_keeps_its_own() -> None:
    """Neither logits nor log probabilities are changed in place."""
    tokens, states, log_probs = given(1, 40)
    copy = log_probs.clone()
    mixed(memory(1), tokens, states, log_probs)
    assert torch.equal(copy, log_probs)


def test_a_kept_memory_knows_earlier_documents() -> None:
    """A document that repeats the one before is likelier than it was; without `kept` it is as likely."""
    spec_model, tokens = GPT(SPEC), torch.tensor([1, *torch.randint(2, SPEC.vocab_size, (40,)).tolist()])
    found = {}
    for kept in (False, True):
        adaptations = build_adaptations({"document_memory": DocumentMemoryConfig(kept=kept)})
        predictor = EnginePredictor(Engine(spec_model, adaptations, bos=1, context=32, strategy="streaming"))
        predictor.reset()
        rows_TV = predictor.log_probs(torch.cat([tokens, tokens]))
        nats_T = -rows_TV[:-1].gather(1, torch.cat([tokens, tokens])[1:, None]).squeeze(1)
        found[kept] = float(nats_T[:40].sum()), float(nats_T[41:].sum())
    assert found[False][1] == pytest.approx(found[False][0], rel=1e-4)
    assert found[True][1] < found[True][0] - 20
