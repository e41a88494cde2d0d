"""The memory of a document as the engine calls it: rows, chunks of any size, resets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bytecap.core.errors import ConfigError
from bytecap.core.settings_reader import from_sparse
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


def document_nats(model: GPT, config: DocumentMemoryConfig, *documents_N: Tensor) -> list[Tensor]:
    """The loss of each document's tokens, but that of BOS, one after the other."""
    engine = Engine(model, build_adaptations({"document_memory": config}), bos=BOS, context=32, strategy="streaming")
    predictor = EnginePredictor(engine)
    predictor.reset()
    rows_TV = predictor.log_probs(torch.cat(documents_N))
    nats_T = -rows_TV[:-1].gather(1, torch.cat(documents_N)[1:, None]).squeeze(1)
    ends = torch.tensor([len(document_N) for document_N in documents_N]).cumsum(0).tolist()
    return [nats_T[end - len(document_N) : end - 1] for end, document_N in zip(ends, documents_N, strict=True)]


def random_document(seed: int) -> Tensor:
    """Forty tokens behind BOS."""
    random = torch.Generator().manual_seed(seed)
    return torch.tensor([BOS, *torch.randint(2, VOCAB, (40,), generator=random).tolist()])


@pytest.mark.parametrize("known", ["kept", "earlier_documents"])
def test_earlier_documents_are_known(known: str) -> None:
    """A document that repeats the one before is likelier than it was; without the setting it is as likely."""
    model, tokens_N = GPT(SPEC), random_document(0)
    first, second = (float(part.sum()) for part in document_nats(model, DocumentMemoryConfig(), tokens_N, tokens_N))
    assert second == pytest.approx(first, rel=1e-4)
    first, second = (
        float(part.sum()) for part in document_nats(model, DocumentMemoryConfig(**{known: True}), tokens_N, tokens_N)
    )
    assert second < first - 20


def test_a_document_knows_of_those_before_it_alone() -> None:
    """Other tokens in the second of three change no bit of the first, and the third; the first is as by itself."""
    model, config = GPT(SPEC), DocumentMemoryConfig(earlier_documents=True)
    documents = [random_document(seed) for seed in range(4)]
    whole = document_nats(model, config, documents[0], documents[1], documents[0])
    other = document_nats(model, config, documents[0], documents[2], documents[0])
    alone = document_nats(model, config, documents[0])
    assert torch.equal(whole[0], other[0]) and torch.equal(whole[0], alone[0])
    assert not torch.equal(whole[2], other[2])


def test_weights_by_context_are_learned_where_earlier_documents_are_known() -> None:
    """Over documents alone; a file of before, which does not name the setting, is scored without."""
    model, documents = GPT(SPEC), [random_document(seed) for seed in (0, 0, 1, 0)]
    without, learned = (
        document_nats(model, DocumentMemoryConfig(earlier_documents=True, context_weights=on), *documents)
        for on in (False, True)
    )
    assert not torch.equal(without[1], learned[1])
    one, other = (document_nats(model, DocumentMemoryConfig(context_weights=on), *documents) for on in (False, True))
    assert all(map(torch.equal, one, other))
    read = from_sparse(DocumentMemoryConfig, {"earlier_documents": True}, origin="a file")
    assert not read.context_weights and DocumentMemoryConfig().context_weights


def test_documents_run_one_after_the_other_where_earlier_ones_are_known() -> None:
    """So processes and lanes can change nothing; to be kept as one document as well makes no sense."""
    config = DocumentMemoryConfig(earlier_documents=True)
    assert DocumentMemory(config).in_order and not DocumentMemory(config).across_documents
    assert not DocumentMemory(DocumentMemoryConfig()).in_order
    with pytest.raises(ConfigError, match="choose one of them"):
        DocumentMemoryConfig(kept=True, earlier_documents=True)
