"""The Predictor of a model in windows gives the losses of the scorer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from bytecap.auditing.drive import drive
from bytecap.auditing.own_models import scored_model
from bytecap.auditing.subject import MemoryStream
from bytecap.core.progress import Silent
from bytecap.model.gpt import GPT
from bytecap.scoring.adaptive import AdaptiveScoring
from bytecap.scoring.evaluate import evaluate
from bytecap.text.byte_counts import ByteTable
from tests.auditing.subjects import TOKENIZER, ask, make_subject
from tests.model.test_gpt import SPEC
from tests.scoring.test_evaluate import unchecked


@pytest.mark.parametrize("stride", [8, 32])
def test_it_is_what_is_scored(stride: int) -> None:
    """Summed over a stream of several documents, in plain and in sliding windows."""
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(SPEC, vocab_size=50))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens_N = np.random.default_rng(0).integers(2, 50, size=193)
    tokens_N[[0, 70, 71, 150]] = 1
    ones_V = np.ones(50, np.int64)
    table = ByteTable(ones_V, ones_V > 1, ones_V > 1, False)
    how = AdaptiveScoring(adapt={}, context=32, stride=stride, batch_tokens=64, strategy="windows")
    score = evaluate(model, unchecked(MemoryStream(tokens_N), table=table), how.static(), Silent())
    asked = scored_model(lambda: model, 1, how)
    rows = drive(asked, asked.make(), tokens_N)
    assert len(rows) == score.tokens == 192
    assert rows.loss_N.sum() == pytest.approx(score.nats, abs=1e-3)


def test_an_order_that_is_published_is_recorded(tmp_path: Path) -> None:
    """Longest documents first: told, as the score itself does."""
    torch.manual_seed(0)
    model = GPT(dataclasses.replace(SPEC, vocab_size=TOKENIZER.vocab_size))
    subject = make_subject(tmp_path)
    for order, verdict in (("canonical", "kept"), ("longest_first", "recorded")):
        how = AdaptiveScoring(
            adapt={}, context=32, stride=8, batch_tokens=64, strategy="streaming", order=cast(Any, order)
        )
        asked = scored_model(lambda: model, TOKENIZER.bos, how)
        report = ask(dataclasses.replace(subject, model=asked), "G1", "G2", "C4")
        assert [finding.answer.verdict for finding in report.findings] == ["kept", verdict, "kept"]
