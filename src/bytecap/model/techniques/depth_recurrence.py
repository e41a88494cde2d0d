"""Depth recurrence: a run of blocks is visited several times, with the same weights.

    blocks 3 to 5 of 11, three times: 0 1 2, 3 4 5, 3 4 5, 3 4 5, 6 7 8 9 10

The settings describe the finished model. Training may begin without the repeats, which are slow: whoever sets
`active` on the technique switches them, with the same parameters in either order. No parameters of its own.

Source:  openai/parameter-golf PR #1204; three visits of blocks 3 to 5, from 35 % of the training on, in PR #1586.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bytecap.core.settings import bounds
from bytecap.model.selectors import select_between
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques.base import Technique, TechniqueConfig

MAX_REPEATS = 16


@dataclass(frozen=True, kw_only=True)
class DepthRecurrenceConfig(TechniqueConfig):
    """Which blocks are repeated, and how often they run."""

    blocks: str = "3-5 of 11"
    """First and last block from 0, both included: numbers ("3-5"), or a share that scales with model.n_layers."""
    repeats: int = field(default=3, metadata=bounds(2, MAX_REPEATS))
    """How often each of them runs in all."""
    active: bool = True
    """False leaves the repeats out, and the parameters of other techniques as they are with them."""

    def selected_blocks(self, model: ModelConfig) -> range:
        """Those that are repeated."""
        return select_between(self.blocks, model.n_layers)

    def visits(self, blocks: list[int]) -> list[int]:
        """The order with every repeat."""
        repeated = select_between(self.blocks, len(blocks))
        return (
            blocks[: repeated.start] + self.repeats * blocks[repeated.start : repeated.stop] + blocks[repeated.stop :]
        )


class DepthRecurrence(Technique):
    """Changes the order of blocks alone."""

    config_class = DepthRecurrenceConfig

    def __init__(self, config: DepthRecurrenceConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.config = config
        self.active = config.active

    def order(self, blocks: list[int]) -> list[int]:
        """The repeated order while `active`, else the plain one."""
        return self.config.visits(blocks) if self.active else blocks
