"""Work on matrices of one shape dealt over the processes of a run, and its results given to all.

In:   parameters, the same on every rank and in the same order.
Out:  those that this rank moves, and what the others have computed for theirs.

Each shape's stack is cut into contiguous pieces, one for each rank, fixed for the whole run: the momentum of a matrix
lives with its owner alone. Letters: N matrices of one shape, O rows, I columns.
Source: the sharded Muon of openai/parameter-golf #1586 and of KellerJordan/modded-nanogpt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from bytecap.core.distributed import all_gather, broadcast, gather, world


class Shards:
    """Which rank moves which parameter."""

    def __init__(self, parameters: list[Tensor]) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            by_shape[parameter.shape].append(parameter)
        self._owners: dict[Tensor, int] = {}
        for stack in by_shape.values():
            piece = -(-len(stack) // world().size)
            self._owners |= {parameter: index // piece for index, parameter in enumerate(stack)}

    def owns(self, parameter: Tensor) -> bool:
        """True where this rank moves `parameter`; a single process moves all."""
        return self._owners[parameter] == world().rank

    def mine(self, parameters: list[Tensor]) -> list[Tensor]:
        """Those of `parameters` that this rank moves."""
        return [parameter for parameter in parameters if self.owns(parameter)]

    def gather(self, parameters: list[Tensor], computed_NOI: Tensor) -> Tensor:
        """What the owners have computed for `parameters` of one shape, (N, O, I) in their order.

        `computed_NOI` is this rank's part, in the order of `mine`. All ranks must call this with the same parameters.
        """
        if world().size == 1:
            return computed_NOI
        of_rank: list[list[int]] = [[] for _ in range(world().size)]
        for index, parameter in enumerate(parameters):
            of_rank[self._owners[parameter]].append(index)
        longest = max(len(indices) for indices in of_rank)
        mine_NOI = torch.zeros(longest, *parameters[0].shape, device=parameters[0].device)
        if len(computed_NOI):
            mine_NOI[: len(computed_NOI)] = computed_NOI
        whole_NOI = all_gather(mine_NOI)
        places = [0] * len(parameters)
        for rank, indices in enumerate(of_rank):
            for place, index in enumerate(indices):
                places[index] = rank * longest + place
        return whole_NOI[torch.tensor(places, device=whole_NOI.device)]


def gather_tensors(mine: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The named tensors of all ranks, which lie on `device`; no two ranks have one of the same name."""
    if world().size == 1:
        return dict(mine)
    found: dict[str, Tensor] = {}
    for rank, shapes in enumerate(gather({name: [str(t.dtype), *t.shape] for name, t in mine.items()})):
        for name, (dtype, *shape) in shapes.items():
            empty = torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")), device=device)
            found[name] = mine[name].contiguous() if rank == world().rank else empty
        broadcast((found[name] for name in shapes), rank)
    return found
