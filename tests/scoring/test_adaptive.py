"""Scores of documents side by side and in groups, and of anybody's predictor."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bytecap.core.errors import NumericsError
from bytecap.core.progress import Silent
from bytecap.scoring import adaptive
from bytecap.scoring.adaptive import (
    AdaptiveScoring,
    Span,
    document_spans,
    evaluate_adaptive,
    evaluate_predictor,
    group_spans,
)
from bytecap.scoring.engine import Engine, EnginePredictor
from bytecap.scoring.past import Strategy
from tests.contracts.adaptations import BOS, CHUNK, CONTEXT, build_validation, default_config, make_ids
from tests.model.test_gpt import random_model

VOCAB = 50


def test_documents_and_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens in front of the first BOS are a document; a BOS at the end has no target."""
    validation = build_validation(tmp_path, [5, 6, BOS, 7, 8, BOS, BOS, 9, BOS])
    spans = document_spans(validation)
    assert spans == [Span(0, 2), Span(2, 5), Span(5, 6), Span(6, 8)]
    monkeypatch.setattr(adaptive, "GROUP_TOKENS", 3)
    assert list(group_spans(spans)) == [spans[:2], spans[2:]]


@pytest.mark.parametrize("name", ["lora", "softcap_temperature"])
def test_groups_and_lanes_change_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group begins afresh, as each document does."""
    validation = build_validation(tmp_path, make_ids(1, (30, 12, 2, 25, 1, 19)))
    found = []
    for rows, tokens in ((1, 1 << 15), (4, 1 << 15), (4, 30)):
        monkeypatch.setattr(adaptive, "GROUP_TOKENS", tokens)
        how = AdaptiveScoring(
            adapt={name: default_config(name)}, context=CONTEXT, batch_tokens=rows * CONTEXT, strategy="windows"
        )
        found.append(evaluate_adaptive(random_model(), validation, how, Silent()))
    assert [score.nats for score in found[1:]] == pytest.approx([found[0].nats] * 2, rel=1e-6)
    assert found[0].adapt[name]["chunk"] == CHUNK and found[0].stride == CHUNK and found[0].tokens == 88


@pytest.mark.parametrize("strategy", ["windows", "streaming"])
def test_a_context_below_the_chunk(strategy: Strategy, tmp_path: Path) -> None:
    """Where less is seen at once than is learned from at once, how many rows there could be changes nothing."""
    validation = build_validation(tmp_path, make_ids(1, (30, 12, 2, 25, 1, 19)))
    one, many = (
        AdaptiveScoring(
            adapt={"lora": default_config("lora")}, context=CHUNK // 2, batch_tokens=rows * CHUNK, stride=1,
            strategy=strategy,
        )
        for rows in (1, 4)
    )  # fmt: skip
    found = [evaluate_adaptive(random_model(), validation, how, Silent()).nats for how in (one, many)]
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_another_order_is_recorded(tmp_path: Path) -> None:
    """What is kept across documents depends on it, what is not does not."""
    validation = build_validation(tmp_path, make_ids(1, (12, 30, 19)))
    for across in (False, True):
        config = default_config("sgd", across_documents=across)
        one, other = (
            AdaptiveScoring(adapt={"sgd": config}, context=CONTEXT, batch_tokens=1, order=order)
            for order in ("canonical", "longest_first")
        )
        first, second = (evaluate_adaptive(random_model(), validation, how, Silent()) for how in (one, other))
        assert (first.order, second.order) == ("canonical", "longest_first")
        assert (second.nats != pytest.approx(first.nats, rel=1e-6)) == across


class Unigram:
    """Counts what it has been told was scored."""

    vocab_size = VOCAB

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.counts_V = torch.ones(VOCAB, dtype=torch.float64)

    def log_probs(self, tokens_T: Tensor) -> Tensor:
        return (self.counts_V / self.counts_V.sum()).log().expand(len(tokens_T), -1)

    def learn(self, scored: Any) -> None:
        self.counts_V += torch.bincount(scored.targets_BT[scored.counted_BT], minlength=VOCAB)


def test_anybodys_predictor(tmp_path: Path) -> None:
    """An adaptive unigram, counted out by hand."""
    ids, nats, counts = make_ids(), 0.0, [1] * VOCAB
    for start in range(1, len(ids), CHUNK):
        nats += sum(math.log(sum(counts) / counts[i]) for i in ids[start : start + CHUNK])
        for i in ids[start : start + CHUNK]:
            counts[i] += 1
    found = evaluate_predictor(Unigram(), build_validation(tmp_path, ids), Silent(), chunk=CHUNK)
    assert found.nats == pytest.approx(nats) and found.strategy == "predictor"


def test_the_engine_as_a_predictor(tmp_path: Path) -> None:
    """The same number by the public interface."""
    validation = build_validation(tmp_path, make_ids(1, (4 * CHUNK, 2 * CHUNK)))
    engine = Engine(random_model(), [], bos=BOS, context=CONTEXT)
    how = AdaptiveScoring(adapt={}, context=CONTEXT, batch_tokens=1, strategy="windows")
    expected = evaluate_adaptive(random_model(), validation, how, Silent())
    assert evaluate_predictor(EnginePredictor(engine), validation, Silent(), chunk=engine.chunk).nats == pytest.approx(
        expected.nats, rel=1e-6
    )


def test_wrong_rows_are_named(tmp_path: Path) -> None:
    """A NaN in one row."""

    class Broken(Unigram):
        def log_probs(self, tokens_T: Tensor) -> Tensor:
            rows_TV = super().log_probs(tokens_T).clone()
            rows_TV[-1] = math.nan
            return rows_TV

    with pytest.raises(NumericsError, match=r"position 8 of the text are no numbers \(NaN\)"):
        evaluate_predictor(Broken(), build_validation(tmp_path, make_ids()), Silent(), chunk=CHUNK)
