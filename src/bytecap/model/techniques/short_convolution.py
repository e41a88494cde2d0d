"""Short convolution: each block reads the stream with a few of its left neighbours added, channel by channel.

    x_t <- x_t + sum over k of w_k * x_{t-k}, k from 1 to taps; every w starts at 0

So queries and keys know the tokens before their own, and attention can look for what followed several tokens alike.

Letters: L blocks, B sequences, T positions, D width, N neighbours.
Source:  Canon layers, arXiv 2512.17351; Primer's convolutions behind queries, keys and values, arXiv 2109.08668.
Differs: neighbours of another document are zero; weights start at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from bytecap.core.settings import bounds
from bytecap.model.roles import Role
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Context, Technique, TechniqueConfig, Visit


@dataclass(frozen=True, kw_only=True)
class ShortConvolutionConfig(TechniqueConfig):
    """How far it reaches."""

    taps: int = field(default=3, metadata=bounds(1, 16))
    """Left neighbours that are added."""


class ShortConvolution(Technique):
    """A vector for each neighbour and block."""

    config_class = ShortConvolutionConfig
    roles: ClassVar[dict[str, Role]] = {"taps_LND": Role.SCALAR}
    starts_neutral = True

    def __init__(self, config: ShortConvolutionConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        self.taps_LND = nn.Parameter(torch.zeros(spec.n_layers, config.taps, spec.d_model))

    def before(self, stream_BTD: Tensor, visit: Visit, context: Context) -> Tensor:
        """The stream with its neighbours added."""
        mixed_BTD = neighbour_BTD = stream_BTD
        for weight_D in self.taps_LND[visit.block].to(stream_BTD.dtype):
            neighbour_BTD = context.previous(neighbour_BTD)
            mixed_BTD = torch.addcmul(mixed_BTD, neighbour_BTD, weight_D)
        return mixed_BTD
