"""Parallel lanes: in the last blocks attention and MLP work side by side, each on a residual stream of its own.

    lane_j <- r_j * lane_j + p_aj * attention(lane_0) + p_mj * mlp(lane_1),  j = 0, 1

Both lanes begin as the stream that enters the first of these blocks, and the last block leaves their mean. What is
added before a block, such as a skip, goes into lane 0; a blend with the first stream (residual_mix.py) is read by
attention alone. r starts at 1.1 and p at 1, per block.

Letters: P blocks with lanes, B sequences, T positions, D width.
Source:  openai/parameter-golf PRs #1204 and #1529, with lanes from block 8 of 11 in PR #1586, read in a script of its
         family: PR #1530's own has no such r and p, but its parameter count is right only with them.
Differs: r and p exist for the blocks that have lanes, where the published run carried unused ones for all 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from bytecap.core.errors import ConfigError
from bytecap.model.roles import Role
from bytecap.model.selectors import select_last
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques.base import Context, Technique, TechniqueConfig, Visit

NAME = "parallel_lanes"


@dataclass(frozen=True, kw_only=True)
class ParallelLanesConfig(TechniqueConfig):
    """Where there are two lanes."""

    last_blocks: int | str = "3 of 11"
    """How many of the last blocks: a number, or a share that scales with model.n_layers."""

    def selected_blocks(self, model: ModelConfig) -> range:
        """The last ones."""
        return select_last(self.last_blocks, model.n_layers)

    def check(self, model: ModelConfig) -> None:
        """Raise ConfigError where a block without lanes follows one that has them."""
        first = self.selected_blocks(model).start
        laned = [block >= first for block in model.visits]
        if laned != sorted(laned):
            raise ConfigError(
                f"last_blocks opens two lanes at block {first}, but blocks are visited in the order "
                f"{', '.join(map(str, model.visits))}, and lanes that are open stay so; let what is repeated end "
                f"before block {first} or begin with it"
            )


class ParallelLanes(Technique):
    """Six numbers for each block with lanes."""

    config_class = ParallelLanesConfig
    roles: ClassVar[dict[str, Role]] = {"keep_P2": Role.SCALAR, "add_P22": Role.SCALAR}
    runs_after = ("gated_skips", "unet_skips")  # what they add goes into lane 0

    def __init__(self, config: ParallelLanesConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.blocks = config.selected_blocks(spec)
        blocks = len(self.blocks)
        self.keep_P2 = nn.Parameter(torch.full((blocks, 2), 1.1))
        self.add_P22 = nn.Parameter(torch.ones(blocks, 2, 2))
        """By block, source (attention, MLP) and lane."""

    def before(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """Lane 0, which is kept as it is before other techniques blend it."""
        if visit.block in self.blocks:
            context.saved.setdefault(NAME, [context.first_BTD]).append(stream_BTD)
        return stream_BTD

    def attention_output(self, update_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """The update of attention, kept for both lanes."""
        return self._keep(update_BTD, visit, context)

    def mlp_input(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """Lane 1."""
        return context.saved[NAME][0] if visit.block in self.blocks else stream_BTD

    def mlp_output(self, update_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """The update of the MLP, kept for both lanes."""
        return self._keep(update_BTD, visit, context)

    def after(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """Lane 0 with both updates, at the last visit the mean of the lanes."""
        place = visit.block - self.blocks.start
        if place < 0:
            context.saved[NAME] = [stream_BTD]  # lane 1, should lanes begin with the next visit
            return stream_BTD
        lane_1_BTD, lane_0_BTD, *updates = context.saved[NAME]
        keep_2, add_22 = self.keep_P2[place].to(stream_BTD.dtype), self.add_P22[place].to(stream_BTD.dtype)
        lanes = [
            keep_2[j] * lane_BTD + add_22[0, j] * updates[0] + add_22[1, j] * updates[1]
            for j, lane_BTD in enumerate((lane_0_BTD, lane_1_BTD))
        ]
        context.saved[NAME] = [lanes[1]]
        return (lanes[0] + lanes[1]) / 2 if visit.place == visit.total - 1 else lanes[0]

    def _keep(self, update_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        if visit.block in self.blocks:
            context.saved[NAME].append(update_BTD)
        return update_BTD
