"""Short convolution: a block reads the stream with a few of its left neighbours added, channel by channel.

    x_t <- x_t + sum over k of w_k * x_{t-k}, k from 1 to taps; every w starts at 0

So queries and keys know the tokens before their own, and attention can look for what followed several tokens alike.

Letters: L blocks that read neighbours, B sequences, T positions, D width, N neighbours.
Source:  Canon layers, arXiv 2512.17351; Primer's convolutions behind queries, keys and values, arXiv 2109.08668.
Differs: neighbours of another document are zero; weights start at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from bytecap.core.settings import bounds
from bytecap.model.roles import Role
from bytecap.model.selectors import select_between
from bytecap.model.techniques.base import Context, Technique, TechniqueConfig, Visit

if TYPE_CHECKING:
    from bytecap.model.spec import ModelConfig, ModelSpec

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class ShortConvolutionConfig(TechniqueConfig):
    """How far it reaches, and where."""

    taps: int = field(default=3, metadata=bounds(1, 16))
    """Left neighbours that are added."""
    blocks: str = ALL
    """"all", or blocks from 0 such as "0-0", or a share of them that scales with model.n_layers, "0-5 of 12"."""

    def selected_blocks(self, model: ModelConfig) -> range:
        """Those that read neighbours."""
        return range(model.n_layers) if self.blocks == ALL else select_between(self.blocks, model.n_layers)


class ShortConvolution(Technique):
    """A vector for each neighbour and block that reads it."""

    config_class = ShortConvolutionConfig
    roles: ClassVar[dict[str, Role]] = {"taps_LND": Role.SCALAR}
    starts_neutral = True

    def __init__(self, config: ShortConvolutionConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.blocks = config.selected_blocks(spec)
        self.taps_LND = nn.Parameter(torch.zeros(len(self.blocks), config.taps, spec.d_model))

    def before(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """The stream with its neighbours added."""
        if visit.block not in self.blocks:
            return stream_BTD
        mixed_BTD = neighbour_BTD = stream_BTD
        for weight_D in self.taps_LND[visit.block - self.blocks.start].to(stream_BTD.dtype):
            neighbour_BTD = context.previous(neighbour_BTD)
            mixed_BTD = torch.addcmul(mixed_BTD, neighbour_BTD, weight_D)
        return mixed_BTD
