"""Sums of each document equal those of a slow walk over the stream."""

from pathlib import Path

import numpy as np
import pytest

from bytecap.core.progress import Silent
from bytecap.scoring.documents import DocumentSums, documents_json
from bytecap.scoring.evaluate import StaticScoring, evaluate
from tests.model.test_gpt import random_model
from tests.scoring.test_evaluate import random_ids, stream_of, unchecked


@pytest.mark.parametrize("first", [0, 5], ids=["begins at BOS", "begins inside a document"])
def test_equals_a_slow_walk(tmp_path: Path, first: int) -> None:
    """Targets handed over in pieces of any order and length."""
    ids = random_ids()[first:]
    rng = np.random.default_rng(1)
    nats, counts = rng.random(len(ids)), rng.integers(0, 5, len(ids))
    slow: list[list[float]] = []
    for position, token in enumerate(ids):
        if token == 1 or not slow:
            slow.append([0.0, 0, 0])
        if position:
            slow[-1] = [slow[-1][0] + nats[position], slow[-1][1] + counts[position], slow[-1][2] + 1]
    sums = DocumentSums(stream_of(tmp_path, ids), bos=1)
    pieces = np.array_split(np.arange(1, len(ids)), 7)
    for index in rng.permutation(len(pieces)):
        piece = pieces[index]
        sums.add(int(piece[0]), nats[piece], counts[piece])
    sums.add(3, nats[:0], counts[:0])
    found = sums.scores()
    assert found.nats_D == pytest.approx([row[0] for row in slow])
    assert found.bytes_D.tolist() == [row[1] for row in slow] and found.tokens_D.tolist() == [row[2] for row in slow]


def test_they_sum_to_the_score(tmp_path: Path) -> None:
    """Nats, bytes and tokens of the documents are those of the whole."""
    how = StaticScoring(context=16, stride=4, batch_tokens=64)
    score = evaluate(random_model(), unchecked(stream_of(tmp_path, random_ids())), how, Silent())
    assert score.documents is not None and "documents" not in score.to_json()
    found = documents_json({"after": score.documents})
    assert sum(found["nats"]["after"]) == pytest.approx(score.nats, abs=1e-4)
    assert sum(found["bytes"]) == score.text_bytes and sum(found["tokens"]) == score.tokens
    assert len(found["bytes"]) == 6 and documents_json({}) == {}
