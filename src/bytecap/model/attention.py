"""Grouped-query causal attention, with normalised queries and keys except in a Llama block.

Letters: B sequences, T positions, S positions that may be seen (the T, behind those of a cache), D width, H query
         heads, G key/value heads, K head width.
Source:  grouped queries, arXiv 2305.13245; the gain on normalised queries as in openai/parameter-golf's baseline.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.elementwise import rms_norm
from bytecap.model.attention_blocks import attend
from bytecap.model.attention_mask import AttentionMask
from bytecap.model.attention_segments import attend_segments
from bytecap.model.hooks import Techniques
from bytecap.model.layers import Linear
from bytecap.model.roles import Role
from bytecap.model.rotary import rotate
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Attended, Context, Visit


class Attention(nn.Module):
    """Multi-head attention over the positions that `context.mask` allows."""

    roles: ClassVar[dict[str, Role]] = {"query_gain": Role.SCALAR}
    query_gain: nn.Parameter | None
    """None where queries and keys are not normalised."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = spec.n_heads, spec.n_kv_heads, spec.d_head
        self.query = Linear(spec.d_model, spec.d_model)
        self.key = Linear(spec.d_model, spec.n_kv_heads * spec.d_head)
        self.value = Linear(spec.d_model, spec.n_kv_heads * spec.d_head)
        self.out = Linear(spec.d_model, spec.d_model, zero=True, to_stream=True)
        normalised = spec.block != "llama"
        self.query_gain = nn.Parameter(torch.full((spec.n_heads,), spec.qk_gain)) if normalised else None

    def forward(self, x_BTD: Tensor, visit: Visit, context: Context, techniques: Techniques) -> Tensor:
        """(B, T, D) to (B, T, D); at the last visit without the positions that `Context.drop` drops."""
        B, T, _ = x_BTD.shape
        key_BTGK = self.key(x_BTD).view(B, T, self.n_kv_heads, self.d_head)
        key_BGTK = techniques.key(key_BTGK, visit, context).transpose(1, 2)
        value_BGTK = self.value(x_BTD).view(B, T, self.n_kv_heads, self.d_head).transpose(1, 2)
        value_BGTK = techniques.value(value_BGTK, visit, context)
        if self.query_gain is not None:
            key_BGTK = rms_norm(key_BGTK)
        key_BGSK = rotate(key_BGTK, context.cos_TK, context.sin_TK)
        value_BGSK = value_BGTK
        if context.cache is not None:
            key_BGSK, value_BGSK = context.cache.extend(visit.place, key_BGSK, value_BGTK)
        early = techniques.change("query")  # these techniques may read neighbours, which the drop below takes away
        query_BTHK = self._queries(x_BTD, visit, context, techniques) if early else None
        if visit.last:
            context.drop()
            x_BTD, value_BGTK = x_BTD[:, context.dropped :], value_BGTK[:, :, context.dropped :]
        if query_BTHK is None:
            query_BTHK = self._queries(x_BTD, visit, context, techniques)
        query_BHTK = query_BTHK[:, query_BTHK.size(1) - x_BTD.size(1) :].transpose(1, 2)
        if self.query_gain is not None:
            query_BHTK = rms_norm(query_BHTK)
        query_BHTK = rotate(query_BHTK, context.cos_TK, context.sin_TK)
        if self.query_gain is not None:
            query_BHTK = query_BHTK * self.query_gain.to(x_BTD.dtype)[:, None, None]
        heads_BHTK = _mixed(query_BHTK, key_BGSK, value_BGSK, context.mask)
        heads_BHTK = techniques.heads(heads_BHTK, Attended(x_BTD, value_BGTK), visit, context)
        return self.out(heads_BHTK.transpose(1, 2).reshape(x_BTD.shape))  # type: ignore[no-any-return]

    def _queries(self, x_BTD: Tensor, visit: Visit, context: Context, techniques: Techniques) -> Tensor:
        """The queries of all heads before they are normalised, (B, T, H, K)."""
        query_BTHK = self.query(x_BTD).view(*x_BTD.shape[:2], self.n_heads, self.d_head)
        return techniques.query(query_BTHK, visit, context)


def _mixed(query_BHTK: Tensor, key_BGSK: Tensor, value_BGSK: Tensor, mask: AttentionMask) -> Tensor:
    """softmax(q kᵀ / √K) v of what may be seen, (B, H, T, K)."""
    if mask.blocks is not None:
        return attend(query_BHTK, key_BGSK, value_BGSK, mask.blocks)
    if mask.segments is not None:
        return attend_segments(query_BHTK, key_BGSK, value_BGSK, mask.segments)
    shared = query_BHTK.size(1) // key_BGSK.size(1)
    if shared > 1 and query_BHTK.is_cuda and mask.pairs_B1TS is not None:
        # with a mask the one kernel for groups of heads keeps all weights, (B, H, T, S)
        key_BGSK, value_BGSK = (x.repeat_interleave(shared, dim=1) for x in (key_BGSK, value_BGSK))
        shared = 1
    return F.scaled_dot_product_attention(
        query_BHTK, key_BGSK, value_BGSK, attn_mask=mask.pairs_B1TS, is_causal=mask.pairs_B1TS is None,
        enable_gqa=shared > 1,
    )  # fmt: skip
