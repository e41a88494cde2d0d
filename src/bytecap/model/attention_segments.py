"""Causal attention of documents that lie one behind the other, by PyTorch's variable-length attention on a GPU.

In:   queries of the last T of S positions, keys and values of all S, the documents of these.
Out:  each query's weighted values, of the positions of its document alone.

A document is a segment of the flat batch: `offsets[i]` to `offsets[i + 1]`. A graph that is compiled for one length of
`offsets` serves every batch, as slots behind the last document repeat the last offset and so hold nothing.

Letters: B sequences, S positions, the last T of them queries, H query heads, G key/value heads, K head width,
         P positions of all sequences, N slots.
Source:  FlashAttention-2, arXiv 2307.08691 (causal masks end at the last key: with fewer queries than keys, too); empty
         slots as in KellerJordan/modded-nanogpt, which trains so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bytecap.model.layers import activation_dtype

_GROUPED = tuple(int(number) for number in torch.__version__.split(".")[:2]) >= (2, 12)
"""From there on several query heads may share keys; before, keys and values are repeated."""


class Segments(NamedTuple):
    """Where documents begin in the flat batch."""

    query_offsets: Tensor
    """int32, (N + 1), of the queries; a document before the first query has none."""
    key_offsets: Tensor
    """int32, (N + 1), of keys and values."""
    positions: tuple[int, int]
    """T and S: no document has more queries and keys."""
    reach: int | None
    """Positions that a query sees at most, itself among them."""


def document_segments(
    document_BS: Tensor, *, queries: int, isolated: bool = True, reach: int | None = None,
    max_documents: int | None = None,
) -> Segments:  # fmt: skip
    """The segments of a batch from the running number of each position's document within its sequence.

    Where documents are not isolated each sequence is one. Without `max_documents` documents are counted, which waits
    for the GPU. With fewer slots than documents the last documents would be given nothing.
    """
    begins_BS = torch.ones_like(document_BS, dtype=torch.bool)
    begins_BS[:, 1:] = (document_BS[:, 1:] != document_BS[:, :-1]) if isolated else False
    number_BS = begins_BS.flatten().cumsum(0).view_as(document_BS) - 1
    slots = int(number_BS[-1, -1]) + 1 if max_documents is None else max_documents
    first_N = torch.arange(slots + 1, device=document_BS.device)
    key_offsets = torch.searchsorted(number_BS.flatten(), first_N, out_int32=True)
    positions = document_BS.size(1)
    query_offsets = key_offsets
    if queries < positions:
        query_offsets = torch.searchsorted(number_BS[:, positions - queries :].flatten(), first_N, out_int32=True)
    return Segments(query_offsets, key_offsets, (queries, positions), reach)


def attend_segments(query_BHTK: Tensor, key_BGSK: Tensor, value_BGSK: Tensor, segments: Segments) -> Tensor:
    """softmax(q kᵀ / √K) v within each segment, (B, H, T, K), in the type of `value_BGSK` or of autocast."""
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  (imports PyTorch's compiler)

    B, H, T, K = query_BHTK.shape
    device = query_BHTK.device
    dtype = activation_dtype(device) if torch.is_autocast_enabled(device.type) else value_BGSK.dtype
    shared = H // key_BGSK.size(1)
    grouped: dict[str, Any] = {}
    if shared > 1 and _GROUPED:
        grouped = {"enable_gqa": True}
    elif shared > 1:
        key_BGSK, value_BGSK = (x.repeat_interleave(shared, dim=1) for x in (key_BGSK, value_BGSK))
    query_PHK, key_PGK, value_PGK = (
        x.transpose(1, 2).reshape(-1, x.size(1), K).to(dtype) for x in (query_BHTK, key_BGSK, value_BGSK)
    )
    window = (-1 if segments.reach is None else segments.reach - 1, 0)
    heads_PHK: Any = varlen_attn(
        query_PHK, key_PGK, value_PGK, segments.query_offsets, segments.key_offsets, *segments.positions,
        window_size=window, **grouped,
    )  # fmt: skip
    return heads_PHK.view(B, T, H, K).transpose(1, 2)  # type: ignore[no-any-return]
