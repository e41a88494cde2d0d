"""Which keys each query may see: those of its document, none later, none farther back than the context.

In:   the documents of all positions, of which the last are queries.
Out:  an AttentionMask: nothing, pairs, or blocks, whichever is quickest.

Letters: B sequences, S positions, T of them queries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bytecap.model.attention_blocks import QueryBlock, blocks_pay, query_blocks


class AttentionMask(NamedTuple):
    """What the last T of S positions may see of all S."""

    pairs_B1TS: Tensor | None = None
    """True where a query (third axis) may see a key (fourth axis); None: plain causal, or what `blocks` say."""
    blocks: list[QueryBlock] | None = None
    """The queries and keys that are compared, where attention works in blocks."""


def attention_mask(
    document_BS: Tensor, weight: Tensor, *, queries: int, d_head: int, isolated: bool, reach: int | None = None
) -> AttentionMask:
    """The mask of the last `queries` positions, each of which sees `reach` positions at most, itself among them.

    `document_BS` numbers the document of each position; `weight` is any of the model.
    """
    positions = document_BS.size(1)
    if reach is not None and reach >= positions:
        reach = None
    first = positions - queries
    if blocks_pay(queries, d_head, weight):
        return AttentionMask(blocks=query_blocks(document_BS, isolated=isolated, first=first, reach=reach))
    if not isolated and not first and reach is None:
        return AttentionMask()
    seen_BTS = torch.ones(1, queries, positions, dtype=torch.bool, device=document_BS.device).tril(first)
    if reach is not None:
        seen_BTS = seen_BTS.triu(first - reach + 1)
    if isolated:
        seen_BTS = seen_BTS & (document_BS[:, first:, None] == document_BS[:, None, :])
    return AttentionMask(pairs_B1TS=seen_BTS[:, None])
