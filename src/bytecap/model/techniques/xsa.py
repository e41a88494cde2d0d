"""Exclusive self-attention: in the last blocks each head gives up what it could have had from its own value.

    o <- o - (o · v̂) v̂,  v̂ = v / |v|, v the position's own value vector of the head's group

The first token of a document sees itself alone, so there its heads give nothing. No parameters.

Letters: B sequences, T positions, H query heads, G key/value heads, K head width.
Source:  openai/parameter-golf PR #332 ("XSA" on the last 4 of 12 blocks), on all blocks in PR #1586.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bytecap.core.elementwise import without_part_along
from bytecap.model.selectors import select_last
from bytecap.model.spec import ModelConfig, ModelSpec
from bytecap.model.techniques.base import Attended, Context, Technique, TechniqueConfig, Visit


@dataclass(frozen=True, kw_only=True)
class XSAConfig(TechniqueConfig):
    """Where it works."""

    last_blocks: int | str = "4 of 12"
    """How many of the last blocks: a number, or a share that scales with model.n_layers."""

    def selected_blocks(self, model: ModelConfig) -> range:
        """The last ones."""
        return select_last(self.last_blocks, model.n_layers)


class XSA(Technique):
    """Joins the output of the heads."""

    config_class = XSAConfig

    def __init__(self, config: XSAConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.blocks = config.selected_blocks(spec)

    def heads(self, heads_BHTK: Tensor, attended: Attended, visit: Visit, context: Context) -> Tensor:
        """The heads' outputs without their part along the position's own value."""
        if visit.block not in self.blocks:
            return heads_BHTK
        B, G, T, K = attended.value_BGTK.shape
        heads_BGRTK = heads_BHTK.view(B, G, -1, T, K)  # R query heads share the value of their group
        return without_part_along(heads_BGRTK, attended.value_BGTK.unsqueeze(2)).view(heads_BHTK.shape)
