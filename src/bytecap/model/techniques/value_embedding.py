"""Value embedding: in the last blocks the values that attention mixes get a second embedding of their token.

    v <- v + s * P table[token],  s per block, starting at `scale`

P starts at zero, so the model starts as without it. One table and one P serve all these blocks.

Letters: E blocks with it, V vocabulary, W width of a row, B sequences, T positions, D width, G key/value heads,
         K head width.
Source:  modded-nanogpt; in the small form of openai/parameter-golf PR #1019's family (width 128, last 2 of 11 blocks).
Differs: s is one factor a block, where the source multiplies a shared one, 0.1, by one for each block, 1. Whether its P
         stayed at zero is not known: its script zeroes it and may draw it again afterwards; zero is neutral.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.settings import bounds
from bytecap.model.layers import Linear
from bytecap.model.roles import Role
from bytecap.model.selectors import select_last
from bytecap.model.spec import MAX_WIDTH, ModelConfig, ModelSpec
from bytecap.model.techniques.base import Context, Technique, TechniqueConfig, Visit

NAME = "value_embedding"


@dataclass(frozen=True, kw_only=True)
class ValueEmbeddingConfig(TechniqueConfig):
    """Where it works, its size and how it begins."""

    last_blocks: int | str = "2 of 11"
    """How many of the last blocks: a number, or a share that scales with model.n_layers."""
    width: int = field(default=128, metadata=bounds(1, MAX_WIDTH))
    """Width W of a row."""
    std: float = field(default=0.01, metadata=bounds(1e-6, 1e3))
    """Standard deviation of the table at the start."""
    scale: float = field(default=0.1, metadata=bounds(1e-6, 1e3))
    """Start of the learned factors s."""

    def selected_blocks(self, model: ModelConfig) -> range:
        """The last ones."""
        return select_last(self.last_blocks, model.n_layers)


class ValueEmbedding(Technique):
    """A table, a linear map to the width of all values and a factor for each block."""

    config_class = ValueEmbeddingConfig
    roles: ClassVar[dict[str, Role]] = {"table_VW": Role.EMBEDDING, "scale_E": Role.SCALAR}
    starts_neutral = True

    def __init__(self, config: ValueEmbeddingConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.blocks = config.selected_blocks(spec)
        self.table_VW = nn.Parameter(torch.empty(spec.vocab_size, config.width))
        if not self.table_VW.is_meta:
            nn.init.normal_(self.table_VW, std=config.std)
        self.projection = Linear(config.width, spec.n_kv_heads * spec.d_head, zero=True)
        self.scale_E = nn.Parameter(torch.full((len(self.blocks),), config.scale))

    def value(self, value_BGTK: Tensor, visit: Visit, context: Context) -> Tensor:
        """The values with their tokens' embedding, which is computed at the first visit and kept."""
        if visit.block not in self.blocks:
            return value_BGTK
        if NAME not in context.saved:
            row_BTW = F.embedding(context.tokens_BT, self.table_VW).to(value_BGTK.dtype)
            B, G, T, K = value_BGTK.shape
            context.saved[NAME] = [self.projection(row_BTW).view(B, T, G, K)]
        scale = self.scale_E[visit.block - self.blocks.start].to(value_BGTK.dtype)
        return value_BGTK + scale * context.saved[NAME][0].transpose(1, 2)
