"""The engine gives one number in batches and as a predictor; adaptations that do not fit together are refused."""

from pathlib import Path

import pytest
import torch

from bytecap.core.errors import ConfigError
from bytecap.scoring.adaptations import ADAPTATIONS, build_adaptations
from bytecap.scoring.engine import DEFAULT_CHUNK, ROW_CHUNK, Engine, EnginePredictor, _tilted
from bytecap.scoring.past import STREAMING, WINDOWS, Strategy
from tests.contracts.adaptations import BOS, CHUNK, CONTEXT, default_config, engine_rows, make_ids, rows, score
from tests.model.test_gpt import random_model

MOVING = ("phased_sgd", "rmsprop", "sgd")
"""Those that move the model's weights, of which one may join."""


@pytest.mark.parametrize("name", ["lora", "sgd", "softcap_temperature"])
def test_predictor_and_lanes_agree(name: str, tmp_path: Path) -> None:
    """On documents whose chunks begin where those of the stream do."""
    ids = make_ids(5, (3 * CHUNK, CHUNK, 2 * CHUNK))
    found_NV = rows(ids, tmp_path / "rows", default_config(name), name, strategy=WINDOWS)
    nats = -sum(float(row_V[target]) for row_V, target in zip(found_NV, ids[1:], strict=True))
    assert score(tmp_path / "score", name, ids, 2).nats == pytest.approx(nats, rel=1e-6)


def test_static_rows_are_those_of_the_model(tmp_path: Path) -> None:
    """Each row from the window that ends with its chunk."""
    ids, model = make_ids(), random_model()
    found_NV = rows(ids, tmp_path, None, strategy=WINDOWS)
    for place in range(len(ids) - 1):
        begin = max(i for i in range(place + 1) if ids[i] == BOS)
        start = max(begin, place // CHUNK * CHUNK - (CONTEXT - CHUNK))
        logits_V = model.logits(model.hidden(torch.tensor([ids[start : place + 1]]), BOS))[0, -1]
        assert torch.allclose(found_NV[place], logits_V.log_softmax(dim=-1), atol=1e-4), place


def test_chunks_must_be_equal() -> None:
    """Two adaptations that ask for different ones."""
    both = build_adaptations({"lora": default_config("lora"), "sgd": default_config("sgd", chunk=4)})
    with pytest.raises(ConfigError, match="chunks of 4 and 8 positions; those of one score must be equal"):
        Engine(random_model(), both, bos=BOS, context=CONTEXT)


def test_a_row_that_streams_alone_is_cut_into_longer_chunks() -> None:
    """Not where windows, rows or learning would have other numbers by it; and its own agree up to rounding."""

    def engine(name: str, strategy: Strategy = STREAMING, **settings: bool) -> Engine:
        made = build_adaptations({name: default_config(name, **settings)})
        return Engine(random_model(), made, bos=BOS, context=2 * ROW_CHUNK, strategy=strategy)

    alone = engine("document_memory", earlier_documents=True)
    assert alone.chunk == ROW_CHUNK and engine("document_memory", kept=True).chunk == ROW_CHUNK
    assert engine("document_memory").chunk == engine("phased_sgd").chunk == DEFAULT_CHUNK
    assert engine("document_memory", WINDOWS, earlier_documents=True).chunk == DEFAULT_CHUNK
    tokens_T, found = torch.tensor([BOS, *range(5, 45)] * 6), []
    for alone.chunk in (ROW_CHUNK, DEFAULT_CHUNK):
        predictor = EnginePredictor(alone)
        predictor.reset()
        found.append(predictor.log_probs(tokens_T))
    assert torch.allclose(found[0], found[1], atol=1e-4) and not found[0].isnan().any()


def test_gradients_are_those_of_the_mixture() -> None:
    """A tilted distribution: values and gradients are those of its own log softmax."""
    logits_BTV, tilt_BTV = torch.randn(2, 3, 9, requires_grad=True), torch.randn(2, 3, 9)
    target_BT1 = torch.randint(0, 9, (2, 3, 1))
    mixed_BTV = (logits_BTV + tilt_BTV).log_softmax(dim=-1)
    found_BTV = _tilted(logits_BTV.log_softmax(dim=-1), mixed_BTV.detach())
    assert torch.allclose(found_BTV, mixed_BTV)
    gradients = [
        torch.autograd.grad(each_BTV.gather(-1, target_BT1).sum(), [logits_BTV])[0]
        for each_BTV in (found_BTV, mixed_BTV)
    ]
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


@pytest.mark.parametrize("strategy", [WINDOWS, STREAMING])
@pytest.mark.parametrize("moving", MOVING)
def test_all_adaptations_together(moving: str, strategy: Strategy, tmp_path: Path) -> None:
    """They learn from one pass; what follows a target changes no bit of what was said of it, and each is live."""
    configs = {name: default_config(name) for name in ADAPTATIONS.names() if name == moving or name not in MOVING}
    configs["softcap_temperature"] = default_config("softcap_temperature", across_documents=True)

    def found_NV(ids: list[int], folder: Path, *without: str) -> torch.Tensor:
        chosen = {name: config for name, config in configs.items() if name not in without}
        engine = Engine(random_model(), build_adaptations(chosen), bos=BOS, context=CONTEXT, strategy=strategy)
        return engine_rows(engine, ids, folder)

    ids = make_ids()
    whole_NV = found_NV(ids, tmp_path / "whole")
    for place in (20, 50):
        changed = [*ids[:place], *(i if i == BOS else 51 - i for i in ids[place:])]
        assert torch.equal(found_NV(changed, tmp_path / f"{place}")[:place], whole_NV[:place]), place
    for name in configs:
        assert not torch.allclose(found_NV(ids, tmp_path / name, name), whole_NV, atol=1e-5), name


def test_one_moves_the_weights() -> None:
    """Two that do are refused."""
    both = build_adaptations({name: default_config(name) for name in ("sgd", "phased_sgd")})
    with pytest.raises(ConfigError, match="PhasedSGD and SGD would both move the model's weights"):
        Engine(random_model(), both, bos=BOS, context=CONTEXT)
