"""Each pause is a loop over rows of what was scored before it, with steps written out."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from bytecap.core.progress import Silent
from bytecap.scoring.adaptations.phased_sgd import PhasedSGDConfig
from bytecap.scoring.adaptive import AdaptiveScoring, evaluate_adaptive
from tests.contracts.adaptations import BOS, build_validation, make_ids
from tests.model.test_gpt import random_model

CONTEXT, CHUNK, PHASE, ROW = 16, 8, 16, 6


def test_slow_twin(tmp_path: Path) -> None:
    """Two epochs in each pause, over two documents; a third that is scored after the last pause."""
    lengths, rate = (24, 16, 8), 0.05
    ids = make_ids(6, lengths)
    model, nats, scored, begin = random_model(), 0.0, 0, 0
    waiting: list[int] = []
    for length in lengths:
        end = min(begin + length, len(ids) - 1)
        for start in range(begin, end, CHUNK):
            stop = min(start + CHUNK, end)
            window_BT = torch.tensor([ids[max(begin, start - (CONTEXT - CHUNK)) : stop]])
            logits_TV = model.logits(model.hidden(window_BT, BOS))[0, start - stop :].detach()
            nats += float(F.cross_entropy(logits_TV, torch.tensor(ids[start + 1 : stop + 1]), reduction="sum"))
            waiting += range(start, stop)
            if len(waiting) < PHASE:
                continue
            for first in 2 * list(range(0, len(waiting), ROW)):
                places = waiting[first : first + ROW]
                logits_TV = model.logits(model.hidden(torch.tensor([[ids[p] for p in places]]), BOS))[0]
                model.zero_grad()
                F.cross_entropy(logits_TV, torch.tensor([ids[p + 1] for p in places])).backward()
                norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
                with torch.no_grad():
                    for parameter in model.parameters():
                        if parameter.grad is not None:
                            parameter.sub_(rate * parameter.grad * min(1.0, 1.0 / float(norm)))
            waiting, scored = [], scored + 1
        begin += length
    assert scored == 2
    config = PhasedSGDConfig(phase_tokens=PHASE, epochs=2, row=ROW, rate=rate)
    how = AdaptiveScoring(adapt={"phased_sgd": config}, context=CONTEXT, batch_tokens=64, strategy="windows")
    found = evaluate_adaptive(random_model(), build_validation(tmp_path, ids), how, Silent())
    assert found.nats == pytest.approx(nats, rel=1e-5)
