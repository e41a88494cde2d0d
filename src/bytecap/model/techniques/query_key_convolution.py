"""Query-key convolution: queries and keys are short causal convolutions of those of the positions up to their own.

    q_t <- sum over k of w_k * q_{t-k}, k from 0 to taps, channel by channel; w_0 starts at 1, the others at 0
    the same for keys, with weights of their own

A key that holds its left neighbour says "I follow this token": a query for the present token then finds what came
after it earlier in the document, in one block, where attention alone needs two. With more taps it finds what followed
the same few tokens.

Letters: L blocks, N taps and one, B sequences, T positions, H query heads, G key/value heads, K head width.
Source:  Primer's multi-DConv-head attention, arXiv 2109.08668, and Canon-B layers, arXiv 2512.17351.
Differs: values are left as they are; neighbours of another document are zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from bytecap.core.settings import bounds
from bytecap.model.roles import Role
from bytecap.model.techniques.base import Context, Technique, TechniqueConfig, Visit

if TYPE_CHECKING:
    from bytecap.model.spec import ModelSpec


@dataclass(frozen=True, kw_only=True)
class QueryKeyConvolutionConfig(TechniqueConfig):
    """How far it reaches."""

    taps: int = field(default=3, metadata=bounds(1, 16))
    """Left neighbours that are mixed in."""


class QueryKeyConvolution(Technique):
    """One weight for each block, tap and channel of queries, and of keys."""

    config_class = QueryKeyConvolutionConfig
    roles: ClassVar[dict[str, Role]] = {"query_taps_LNHK": Role.SCALAR, "key_taps_LNGK": Role.SCALAR}
    starts_neutral = True

    def __init__(self, config: QueryKeyConvolutionConfig, spec: ModelSpec) -> None:
        super().__init__(config, spec)
        shape = (spec.n_layers, config.taps + 1)
        self.query_taps_LNHK = nn.Parameter(_identity(*shape, spec.n_heads, spec.d_head))
        self.key_taps_LNGK = nn.Parameter(_identity(*shape, spec.n_kv_heads, spec.d_head))

    def query(self, query_BTHK: Tensor, visit: Visit, context: Context) -> Tensor:
        """The queries, each mixed with its left neighbours."""
        return _convolve(query_BTHK, self.query_taps_LNHK[visit.block], context)

    def key(self, key_BTGK: Tensor, visit: Visit, context: Context) -> Tensor:
        """The keys, each mixed with its left neighbours."""
        return _convolve(key_BTGK, self.key_taps_LNGK[visit.block], context)


def _identity(blocks: int, taps: int, heads: int, width: int) -> Tensor:
    """Weights that leave everything as it is."""
    weights = torch.zeros(blocks, taps, heads, width)
    weights[:, 0] = 1.0
    return weights


def _convolve(x_BTHK: Tensor, taps_NHK: Tensor, context: Context) -> Tensor:
    own_HK, *neighbour_taps = taps_NHK.to(x_BTHK.dtype)
    mixed_BTHK: Tensor = x_BTHK * own_HK
    for weight_HK in neighbour_taps:
        x_BTHK = context.previous(x_BTHK)
        mixed_BTHK = torch.addcmul(mixed_BTHK, x_BTHK, weight_HK)
    return mixed_BTHK
