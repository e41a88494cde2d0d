"""Different positions are counted, and too few of them are damped and said."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bytecap.core.progress import Silent
from bytecap.fitting.problem import build_problem
from bytecap.fitting.source import source_from_module
from bytecap.quant import distinct
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.calibration import CalibrationOptions, calibrate
from bytecap.quant.distinct import DistinctPositions
from bytecap.quant.statistics import FEW_POSITIONS, PRIOR_POSITIONS, Calibration
from tests.progress import Notes


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(40, 8), nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 40))


def measured(batches: list[Tensor], progress: Any = None, *, losses: bool = False) -> Calibration:
    def answers(net: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        logits = net(batch)
        return nn.functional.cross_entropy(logits, batch, reduction="none") if losses else (logits, batch)

    return calibrate(
        model(), batches, answers, source_digest="x", progress=progress or Silent(),
        options=CalibrationOptions(generator=torch.Generator().manual_seed(0)),
    )  # fmt: skip


@pytest.mark.parametrize("losses", [False, True])
@pytest.mark.parametrize("tokens", [1, 3, 40])
def test_as_many_as_there_are_inputs(tokens: int, losses: bool) -> None:
    """One position for each input, over batches of other sizes, by logits or by losses."""
    batches = [torch.arange(40).remainder(tokens), torch.randint(0, tokens, (7,))]
    found = measured(batches, losses=losses)
    assert found.distinct == len({int(token) for batch in batches for token in batch}) == tokens


def test_against_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of logits compared one with the other; the count stops where it is enough."""
    rows = torch.randint(0, 2, (200, 6), generator=torch.Generator().manual_seed(0)).float()
    slow = sum(not any(torch.equal(row, rows[j]) for j in range(i)) for i, row in enumerate(rows))
    found = DistinctPositions()
    for part in rows.split(33):
        found.add((part, torch.zeros(len(part))))
    assert found.count == slow < 64
    monkeypatch.setattr(distinct, "ENOUGH", 20)
    found.add(torch.arange(100.0))
    assert found.count == 20


def test_what_is_said_and_damped() -> None:
    """The same sample again and again: a note, and factors nearly as even as without data; many samples: neither."""
    thin, many = Notes(), Notes()
    few = measured([torch.full((300,), 7)] * 4, thin)
    assert few.min_damping == PRIOR_POSITIONS and "1,200 positions, of which only 1 differ;" in thin.notes[0]
    source, config = source_from_module(model()), QuantConfig(states=8)
    for name, factors in build_problem(source, few, config).factors.items():
        pivots = np.concatenate([factors.column_factors_I / factors.column_factors_I.mean()])
        assert pivots.max() < 1.5 and pivots.min() > 0.2, name
    Calibration(source_digest="x", tokens=148, loss=0.0, unigram=1.0, tensors={}, distinct=148).note_thin(thin)
    assert "seen 148 positions; that is too few" in thin.notes[-1]
    enough = Calibration(
        source_digest="x", tokens=1, loss=0.0, unigram=1.0, tensors=few.tensors, distinct=FEW_POSITIONS
    )  # fmt: skip
    unknown = Calibration(source_digest="x", tokens=1, loss=0.0, unigram=1.0, tensors=few.tensors)
    assert enough.min_damping == unknown.min_damping == 0
    enough.note_thin(many)
    assert build_problem(source, enough, config).loss_share == 1.0
    assert not many.notes
