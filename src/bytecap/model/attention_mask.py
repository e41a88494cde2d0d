"""Which keys each query may see: those of its document, none later, none farther back than the context.

In:   the documents of all positions, of which the last are queries, and the implementation of attention.
Out:  an AttentionMask: nothing, pairs, blocks or segments, as that implementation takes it.

Letters: B sequences, S positions, T of them queries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bytecap.model.attention_blocks import QueryBlock, query_blocks
from bytecap.model.attention_choice import choose_attention
from bytecap.model.attention_segments import Segments, document_segments


class AttentionMask(NamedTuple):
    """What the last T of S positions may see of all S."""

    pairs_B1TS: Tensor | None = None
    """True where a query (third axis) may see a key (fourth axis); None: plain causal, or what `blocks` or `segments`
    say."""
    blocks: list[QueryBlock] | None = None
    """The queries and keys that are compared, where attention works in blocks."""
    segments: Segments | None = None
    """The documents, where attention takes them one by one."""


class Visible(NamedTuple):
    """What a query may see, the same for all."""

    isolated: bool
    """Positions of its own document alone."""
    reach: int | None = None
    """The last so many positions, itself among them; None: any number."""
    max_documents: int | None = None
    """At least the documents of the batch, each row beginning one, where a graph is compiled for "varlen"; None: they
    are counted, and nothing is compiled."""


def attention_mask(
    document_BS: Tensor, weight: Tensor, *, queries: int, d_head: int, visible: Visible
) -> AttentionMask:
    """The mask of the last `queries` positions.

    `document_BS` numbers the document of each position; `weight` is any of the model.
    """
    positions, isolated, reach = document_BS.size(1), visible.isolated, visible.reach
    if reach is not None and reach >= positions:
        reach = None
    first = positions - queries
    plain = not isolated and not first and reach is None
    kind = "varlen"
    if plain or visible.max_documents is None:
        kind = choose_attention(weight, queries=queries, d_head=d_head, plain=plain).kind
    if kind == "blocks of queries":
        return AttentionMask(blocks=query_blocks(document_BS, isolated=isolated, first=first, reach=reach))
    if kind == "sdpa":
        return AttentionMask()
    if kind == "varlen":
        return AttentionMask(
            segments=document_segments(
                document_BS, queries=queries, isolated=isolated, reach=reach, max_documents=visible.max_documents
            )
        )
    seen_BTS = torch.ones(1, queries, positions, dtype=torch.bool, device=document_BS.device).tril(first)
    if reach is not None:
        seen_BTS = seen_BTS.triu(first - reach + 1)
    if isolated:
        seen_BTS = seen_BTS & (document_BS[:, first:, None] == document_BS[:, None, :])
    return AttentionMask(pairs_B1TS=seen_BTS[:, None])
