"""Every target once, and nothing is learned from before its loss is written down."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bytecap.core.errors import NumericsError
from bytecap.scoring.ledger import SUM_TOLERANCE, Chunk, Ledger, Scored, join
from bytecap.text.shards import TokenStream
from tests.scoring.test_evaluate import TABLE, random_ids, stream_of

VOCAB = 50


@pytest.fixture
def stream(tmp_path: Path) -> TokenStream:
    return stream_of(tmp_path, random_ids(40))


def uniform(*shape: int) -> Tensor:
    return torch.full((*shape, VOCAB), -math.log(VOCAB))


def test_sums_are_those_of_a_slow_count(stream: TokenStream) -> None:
    """Two rows, chunks of several lengths, in an order of their own."""
    ledger, ids = Ledger(stream, TABLE, 1), stream.read(0, len(stream)).astype(np.int64)
    torch.manual_seed(0)
    nats, seen = 0.0, 0
    for chunk in (Chunk((20, 0), (5, 8)), Chunk((25,), (14,)), Chunk((8,), (12,))):
        log_probs_BTV = torch.randn(len(chunk.starts), chunk.length, VOCAB).log_softmax(dim=-1)
        scored = ledger.commit(chunk, log_probs_BTV)
        for row, (start, count) in enumerate(zip(chunk.starts, chunk.counts, strict=True)):
            for place in range(count):
                assert scored.positions_BT[row, place] == start + place + 1
                assert scored.inputs_BT[row, place] == ids[start + place]
                nats -= float(log_probs_BTV[row, place, ids[start + place + 1]])
                seen += 1
        assert scored.tokens == sum(chunk.counts) and int(scored.counted_BT.sum()) == scored.tokens
    totals = ledger.close()
    assert seen == totals.tokens == len(ids) - 1
    assert totals.nats == pytest.approx(nats, rel=1e-6)
    assert totals.text_bytes == int(TABLE.count(ids[:-1], ids[1:]).sum())
    assert totals.documents.nats_D.sum() == pytest.approx(totals.nats)


def test_inputs_end_before_the_last_target(stream: TokenStream) -> None:
    """And are padded with BOS."""
    shown_BT = Ledger(stream, TABLE, 1).inputs(Chunk((3, 10), (4, 2)))
    assert shown_BT[0].tolist() == stream.read(3, 4).tolist()
    assert shown_BT[1].tolist() == [*stream.read(10, 2).tolist(), 1, 1]


def test_once_only(stream: TokenStream) -> None:
    """A second time, and a hole."""
    ledger = Ledger(stream, TABLE, 1)
    ledger.commit(Chunk((0,), (10,)), uniform(1, 10))
    with pytest.raises(RuntimeError, match="from 10 on was scored twice"):
        ledger.commit(Chunk((9,), (5,)), uniform(1, 5))
    with pytest.raises(RuntimeError, match="was not scored, or scored twice"):
        ledger.close()


def test_refused_probabilities(stream: TokenStream) -> None:
    """NaN, sums that are not one, a token without any; what pads a row may be anything."""
    ledger, chunk = Ledger(stream, TABLE, 1), Chunk((0, 20), (4, 6))
    for value, message in (
        (torch.full((VOCAB,), math.nan), r"position 3 of the text are no numbers \(NaN\)"),
        (uniform(1)[0] + 0.01, r"position 3 of the text sum to 1\.0100\d+, and must to 1 within 1e-05"),
        (uniform(1)[0] - 2 * SUM_TOLERANCE, r"position 3 of the text sum to 0\.9999799"),
    ):
        log_probs_BTV = uniform(2, 6)
        log_probs_BTV[0, 2] = value
        with pytest.raises(NumericsError, match=message) as raised:
            ledger.commit(chunk, log_probs_BTV)
        assert raised.value.values["position"] == 3
    target = int(stream.read(3, 1)[0])
    log_probs_BTV = uniform(2, 6)
    log_probs_BTV[0, 2] = math.log(1 / (VOCAB - 1))
    log_probs_BTV[0, 2, target] = -math.inf
    with pytest.raises(NumericsError, match="the loss at position 3 of the text is infinite"):
        ledger.commit(chunk, log_probs_BTV)
    log_probs_BTV = uniform(2, 6)
    log_probs_BTV[0, 4:] = math.nan
    assert ledger.commit(chunk, log_probs_BTV).tokens == 10


def test_nobody_else_makes_a_scored(stream: TokenStream) -> None:
    """Not by its constructor, and not by a copy with other targets."""
    scored = Ledger(stream, TABLE, 1).commit(Chunk((0,), (6,)), uniform(1, 6))
    fields = {name: getattr(scored, name) for name in scored.__dataclass_fields__ if name != "seal"}
    with pytest.raises(TypeError, match=r"Ledger\.commit alone"):
        Scored(**fields, seal=None)
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(scored, targets_BT=scored.inputs_BT)  # type: ignore[call-arg]


def test_parts_and_joins(stream: TokenStream) -> None:
    """A part of a Scored, and neighbouring parts as one, with the graph."""
    logits_BTV = torch.zeros(1, 6, VOCAB, requires_grad=True)
    graph_BTV = logits_BTV.log_softmax(dim=-1)
    scored = Ledger(stream, TABLE, 1).commit(Chunk((0,), (6,)), uniform(1, 6)).with_graph(graph_BTV)
    first, second = scored.part(0, 2), scored.part(2, 6)
    assert first.tokens == 2 and second.positions_BT.tolist() == [[3, 4, 5, 6]]
    whole = join([first, second])
    assert torch.equal(whole.targets_BT, scored.targets_BT) and whole.loss_BT is not None
    whole.loss_BT.sum().backward()
    assert logits_BTV.grad is not None and float(logits_BTV.grad.abs().sum()) > 0
