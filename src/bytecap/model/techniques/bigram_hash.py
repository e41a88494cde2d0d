"""BigramHash: a hash of the pair (token before, token) picks a row of a table, which joins the token's embedding.

    e_t <- e_t + s * P table[h],  h = (36313 t XOR 27191 t_before) mod (N - 1);  h = N - 1 for a document's first token

The table starts at zero, so the model starts as without it; s starts at `scale`. P is left out where the rows are as
wide as the model.

Letters: N buckets, W width of a row, B sequences, T positions, D width.
Source:  modded-nanogpt; openai/parameter-golf PR #219, with 2048 buckets of 128.
Differs: every document's first token has the last bucket, where the published run hashed it with the last token of the
         document before. The product is taken in 64 bits: the same below 59,138 tokens, where 32 bits overflow.
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
from bytecap.model.spec import MAX_WIDTH, ModelSpec
from bytecap.model.techniques.base import Context, Technique, TechniqueConfig

MAX_BUCKETS = 1 << 24
_TOKEN, _BEFORE = 36_313, 27_191


@dataclass(frozen=True, kw_only=True)
class BigramHashConfig(TechniqueConfig):
    """The size of the table and the start of its scale."""

    buckets: int = field(default=2048, metadata=bounds(2, MAX_BUCKETS))
    """Rows of the table N, one of them for documents' first tokens."""
    width: int = field(default=128, metadata=bounds(1, MAX_WIDTH))
    """Width W of a row."""
    scale: float = field(default=0.05, metadata=bounds(1e-6, 1e3))
    """Start of the learned factor s."""


class BigramHash(Technique):
    """A table, a linear map to the width of the model and one factor."""

    config_class = BigramHashConfig
    roles: ClassVar[dict[str, Role]] = {"table_NW": Role.EMBEDDING, "scale": Role.SCALAR}
    starts_neutral = True

    def __init__(self, config: BigramHashConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.table_NW = nn.Parameter(torch.zeros(config.buckets, config.width))
        whole = config.width == spec.d_model
        self.projection = nn.Identity() if whole else Linear(config.width, spec.d_model, to_stream=True)
        self.scale = nn.Parameter(torch.full((1,), config.scale))

    def embed(self, embedded_BTD: Tensor, context: Context) -> Tensor:
        """The embedding with that of the pair."""
        row_BTW = F.embedding(self.buckets(context), self.table_NW).to(embedded_BTD.dtype)
        pair_BTD: Tensor = self.projection(row_BTW)
        return embedded_BTD + self.scale.to(embedded_BTD.dtype) * pair_BTD

    def buckets(self, context: Context) -> Tensor:
        """Row of the table for each position, (B, T)."""
        before_BT = context.previous(context.tokens_BT + 1) - 1  # ids from 0: a document's first token has -1 before it
        last = self.table_NW.size(0) - 1
        hashed_BT = torch.bitwise_xor(_TOKEN * context.tokens_BT, _BEFORE * before_BT) % last
        return torch.where(before_BT < 0, last, hashed_BT)
