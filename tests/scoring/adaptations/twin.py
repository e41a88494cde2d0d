"""The slow, obvious way: one document, a chunk at a time, each scored before a step on it.

Letters: T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bytecap.core.progress import Silent
from bytecap.model.gpt import GPT
from bytecap.scoring.adaptations.base import AdaptationConfig
from bytecap.scoring.adaptive import AdaptiveScoring, evaluate_adaptive
from tests.contracts.adaptations import BOS, build_validation, make_ids
from tests.model.test_gpt import random_model

CONTEXT, CHUNK = 24, 8
LENGTHS = (37, 3, 30)


def slow_nats(
    ids: list[int], logits: Callable[[Tensor], Tensor], step: Callable[[Tensor], None], chunk: int = CHUNK
) -> float:
    """Nats of a document's targets `ids[1:]`; `logits` are of a window (T,), `step` gets the loss of a chunk."""
    nats = 0.0
    for start in range(0, len(ids) - 1, chunk):
        end = min(start + chunk, len(ids) - 1)
        window_T = torch.tensor(ids[max(0, start - (CONTEXT - chunk)) : end])
        scored_TV, targets_T = logits(window_T)[start - end :], torch.tensor(ids[start + 1 : end + 1])
        loss = F.cross_entropy(scored_TV, targets_T)
        nats += float(loss.detach()) * (end - start)
        if end < len(ids) - 1:
            step(loss)
    return nats


def check_twin(
    folder: Path, name: str, config: AdaptationConfig, twin: Callable[[GPT, list[int]], float], **about: float
) -> None:
    """The score of three documents side by side is the sum of the twin over each with a model of its own."""
    ids, expected, begin = [*make_ids(4, LENGTHS), BOS], 0.0, 0
    for length in LENGTHS:
        expected += twin(random_model(), ids[begin : begin + length + 1])
        begin += length
    how = AdaptiveScoring(adapt={name: config}, context=CONTEXT, batch_tokens=3 * CONTEXT, strategy="windows")
    found = evaluate_adaptive(random_model(), build_validation(folder, ids), how, Silent())
    assert found.nats == pytest.approx(expected, rel=about.get("rel", 1e-5))
    static = evaluate_adaptive(
        random_model(),
        build_validation(folder, ids),
        AdaptiveScoring(adapt={}, context=CONTEXT, batch_tokens=64, strategy="windows"),
        Silent(),
    )
    assert abs(found.nats - static.nats) > 1e-3 * static.nats
