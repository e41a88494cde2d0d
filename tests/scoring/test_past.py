"""Rows of different lengths see what each would alone."""

import torch

from bytecap.scoring.past import STREAMING, WINDOWS, CachePast, WindowPast, build_past
from tests.model.test_gpt import random_model


def test_each_lane_as_alone() -> None:
    """Three chunks, a document that begins in one row, a row that is given up."""
    model, before = random_model(), 6
    torch.manual_seed(1)
    ids_BT = torch.randint(2, 50, (3, 12))
    ids_BT[:, 0] = ids_BT[1, 4] = 1
    past = WindowPast(model, before, 1)
    past.begin(3)
    for start in (0, 4, 8):
        rows = [0, 1, 2] if start < 8 else [0, 2]
        if start == 4:
            past.reset(1)
        if start == 8:
            past.keep(rows)
        found_BTD = past.hidden(ids_BT[rows, start : start + 4])
        for index, row in enumerate(rows):
            first = max(0, start - before)
            if row == 1 and start == 4:
                first = 4
            alone_TD = model.hidden(ids_BT[row : row + 1, first : start + 4], 1)[0, -4:]
            assert torch.allclose(found_BTD[index], alone_TD, atol=1e-5)


def test_a_cache_sees_its_context() -> None:
    """One pass over documents that fit; rows that are given up take nothing with them."""
    model, ids_BT = random_model(), torch.randint(2, 50, (3, 12), generator=torch.Generator().manual_seed(2))
    ids_BT[:, 0] = ids_BT[1, 8] = 1
    past = CachePast(model, 12, 1)
    past.begin(3)
    found = [past.hidden(ids_BT[:, :4]), past.hidden(ids_BT[:, 4:8])]
    past.keep([1, 2])
    found_BTD = torch.cat([part_BTD[1:] for part_BTD in found] + [past.hidden(ids_BT[1:, 8:])], dim=1)
    assert torch.allclose(found_BTD, model.hidden(ids_BT[1:], 1), atol=1e-4)


def test_each_strategy_has_its_past() -> None:
    """The names of both."""
    model = random_model()
    assert isinstance(build_past(model, STREAMING, bos=1, context=8, chunk=4), CachePast)
    assert isinstance(build_past(model, WINDOWS, bos=1, context=8, chunk=4), WindowPast)
