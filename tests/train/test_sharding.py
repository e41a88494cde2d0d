"""Matrices dealt over processes: each has one owner, and what the owners computed comes back in order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bytecap.core import distributed
from bytecap.core.distributed import World
from bytecap.train import sharding
from bytecap.train.sharding import Shards


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("present", [5, 3])
def test_every_matrix_comes_back(monkeypatch: pytest.MonkeyPatch, size: int, present: int) -> None:
    """The ranks' parts, gathered as the group would, are the whole stack; also where some matrices got no gradient."""
    torch.manual_seed(0)
    everyone: list[Tensor] = [*torch.randn(5, 4, 2).unbind(), *torch.randn(2, 3, 3).unbind()]
    stack, parts, sent = everyone[:5][-present:], [], []
    for rank in range(size):
        monkeypatch.setattr(distributed, "_world", World(rank, size, rank))
        shards = Shards(everyone)
        mine = shards.mine(stack)
        assert all(shards.owns(parameter) for parameter in mine)
        parts.append(torch.stack(mine) if mine else torch.empty(0))
    assert sum(len(part) for part in parts) == present

    def record(piece_NOI: Tensor) -> Tensor:
        sent.append(piece_NOI)
        return piece_NOI.repeat(size, 1, 1)

    for rank in range(size):
        monkeypatch.setattr(distributed, "_world", World(rank, size, rank))
        monkeypatch.setattr(sharding, "all_gather", record)
        Shards(everyone).gather(stack, parts[rank])
    monkeypatch.setattr(sharding, "all_gather", lambda piece: torch.cat(sent) if sent else piece)
    assert torch.equal(Shards(everyone).gather(stack, parts[-1]), torch.stack(stack))
