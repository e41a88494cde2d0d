"""Causal attention isolated by document, in blocks of queries that stay in the processor's cache.

A block of queries is compared with keys from about the start of its first document to its own end, so neither later
positions nor most of other documents cost anything, and all products go through `product`.
The weights of a block are made again in the backward pass, so no tensor has the square of T.

Letters: B sequences, S positions, the last T of them queries, H query heads, G key/value heads, K head width,
         R queries of a block times the heads of its group, L keys of a block.
Source:  FlashAttention, arXiv 2205.14135 (blocks, weights made again in the backward pass).
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bytecap.core.products import narrowed, product, suits

ROWS = 256
"""Most queries of a block."""
_LONG, _ROWS_OF_LONG = 512, 128
"""Sequences from this length on fall into shorter blocks, which leave more of the later keys out."""
_KEPT = 1 << 22
"""Most weights that are kept for the backward pass: 16 MiB. Where there are more, it makes them again."""
_MIN_SIZE = 8_192
"""Positions times head width beyond which blocks are quicker than PyTorch's attention with a mask."""


class QueryBlock(NamedTuple):
    """Queries at positions `begin` to `end - 1` of one sequence, compared with keys `start` to `end - 1`."""

    sequence: int
    start: int
    begin: int
    end: int
    hidden_RL: Tensor | None
    """Minus infinity where a query may not see a key, 0 elsewhere; None where only later positions are hidden."""


def blocks_pay(queries: int, d_head: int, weight: Tensor) -> bool:
    """True where blocks can be used and are quicker; `weight` is any of the model."""
    return suits(weight) and queries * d_head > _MIN_SIZE and not torch.is_autocast_enabled("cpu")


def query_blocks(
    document_BS: Tensor, *, isolated: bool = True, first: int = 0, reach: int | None = None
) -> list[QueryBlock]:
    """All blocks of a batch, for the queries from position `first` on, each of which sees `reach` positions at most.

    `document_BS` is the running number of each position's document within its sequence. Keys begin where a block does,
    so that few shapes occur: oneDNN prepares each shape once.
    """
    positions = document_BS.size(1)
    rows = ROWS if positions < _LONG else _ROWS_OF_LONG
    found = []
    for sequence, document_S in enumerate(document_BS.tolist()):
        for begin in range(first, positions, rows):
            end = min(begin + rows, positions)
            start = 0 if reach is None else max(0, begin - reach + 1)
            if isolated:
                start = document_S.index(document_S[begin], start)
            start = start // rows * rows
            alike = not isolated or document_S[start] == document_S[end - 1]
            if alike and (reach is None or end - start <= reach):
                hidden_RL = None
            else:
                hidden_RL = _hidden(document_BS[sequence, start:end], begin - start, isolated, reach)
            found.append(QueryBlock(sequence, start, begin, end, hidden_RL))
    return found


def _hidden(document_L: Tensor, first: int, isolated: bool, reach: int | None) -> Tensor:
    """The mask of one block, whose queries begin at its key `first`, (queries, L)."""
    hidden_RL = _outside(len(document_L), first, reach)
    if not isolated or document_L[0] == document_L[-1]:
        return hidden_RL
    return hidden_RL.masked_fill(document_L[first:, None] != document_L, -torch.inf)


@lru_cache(maxsize=16)
def _outside(keys: int, first: int, reach: int | None) -> Tensor:
    """Minus infinity where a key lies behind the query, or too far before it."""
    hidden_RL = torch.zeros(keys - first, keys)
    hidden_RL[:, first:] = _later()[: keys - first, : keys - first]
    if reach is not None:
        hidden_RL.masked_fill_(torch.ones(keys - first, keys, dtype=torch.bool).tril(first - reach), -torch.inf)
    return hidden_RL


def attend(query_BHTK: Tensor, key_BGSK: Tensor, value_BGSK: Tensor, blocks: list[QueryBlock]) -> Tensor:
    """softmax(q kᵀ / √K) v of each block, (B, H, T, K), the queries of the last T positions; float32 on CPU only."""
    assert suits(query_BHTK, key_BGSK, value_BGSK)
    return _Attend.apply(query_BHTK, key_BGSK, value_BGSK, blocks)  # type: ignore[no-any-return, no-untyped-call]


class _Attend(torch.autograd.Function):
    """The weighted values, and the gradients of queries, keys and values."""

    @staticmethod
    def forward(ctx: Any, query_BHTK: Tensor, key_BGSK: Tensor, value_BGSK: Tensor, blocks: list[QueryBlock]) -> Tensor:
        scaled_BHTK = query_BHTK * query_BHTK.size(-1) ** -0.5
        key_BGSK, value_BGSK = key_BGSK.contiguous(), narrowed(value_BGSK.contiguous())
        ctx.save_for_backward(scaled_BHTK, key_BGSK, value_BGSK)
        ctx.blocks, ctx.weights = blocks, []
        B, H, T, K = query_BHTK.shape
        first = key_BGSK.size(2) - T
        keep = sum((block.end - block.begin) * (block.end - block.start) for block in blocks) * H <= _KEPT
        heads_BTHK = query_BHTK.new_empty(B, T, H, K)  # in the order in which the next map reads it
        for block, group, heads in _parts(blocks, H, key_BGSK.size(1)):
            keys = (block.sequence, group, slice(block.start, block.end))
            weights_RL = _weights(_rows(scaled_BHTK, block, heads, first), key_BGSK[keys], block)
            if keep:
                ctx.weights.append(weights_RL)
            mixed_RK = product(weights_RL.to(value_BGSK.dtype), value_BGSK[keys].T)
            out_NHK = heads_BTHK[block.sequence, block.begin - first : block.end - first, heads]
            out_NHK.copy_(mixed_RK.view(-1, block.end - block.begin, K).transpose(0, 1))
        return heads_BTHK.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_BHTK: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        scaled_BHTK, key_BGSK, value_BGSK = ctx.saved_tensors
        operands = value_BGSK.dtype
        narrow_BHTK, gradient_BHTK, narrow_BGSK = (x.to(operands) for x in (scaled_BHTK, gradient_BHTK, key_BGSK))
        B, H, T, K = scaled_BHTK.shape
        G, S = key_BGSK.shape[1:3]
        first = S - T
        to_query_BHTK = torch.empty_like(scaled_BHTK)
        to_key_BGKS, to_value_BGKS = scaled_BHTK.new_zeros(2, B, G, K, S)
        for index, (block, group, heads) in enumerate(_parts(ctx.blocks, H, G)):
            place, columns = (block.sequence, group), slice(block.start, block.end)
            query_RK, gradient_RK = (_rows(x_BHTK, block, heads, first) for x_BHTK in (narrow_BHTK, gradient_BHTK))
            if ctx.weights:
                weights_RL = ctx.weights[index]
            else:
                weights_RL = _weights(_rows(scaled_BHTK, block, heads, first), key_BGSK[place][columns], block)
            to_weights_RL = product(gradient_RK, value_BGSK[place][columns])
            to_scores_RL = torch.ops.aten._softmax_backward_data(to_weights_RL, weights_RL, -1, torch.float32)
            weights_RL, to_scores_RL = weights_RL.to(operands), to_scores_RL.to(operands)
            to_query_RK = product(to_scores_RL, narrow_BGSK[place][columns].T)
            to_query_BHTK[block.sequence, heads, block.begin - first : block.end - first] = to_query_RK.view(
                -1, block.end - block.begin, K
            )
            to_key_BGKS[place][:, columns] += product(query_RK.T, to_scores_RL.T)
            to_value_BGKS[place][:, columns] += product(gradient_RK.T, weights_RL.T)
        return to_query_BHTK.mul_(K**-0.5), to_key_BGKS.mT, to_value_BGKS.mT, None


def _parts(blocks: list[QueryBlock], n_heads: int, n_groups: int) -> list[tuple[QueryBlock, int, slice]]:
    """Each block with each key/value head and the slice of query heads that share it."""
    shared = n_heads // n_groups
    return [(b, group, slice(group * shared, (group + 1) * shared)) for b in blocks for group in range(n_groups)]


def _rows(heads_BHTK: Tensor, block: QueryBlock, heads: slice, first: int) -> Tensor:
    """The block's rows of some heads, one head after the other, (R, K); the queries begin at position `first`."""
    rows = slice(block.begin - first, block.end - first)
    return heads_BHTK[block.sequence, heads, rows].reshape(-1, heads_BHTK.size(-1))


def _weights(query_RK: Tensor, key_LK: Tensor, block: QueryBlock) -> Tensor:
    """Attention weights of a block, (R, L); of what is not hidden."""
    scores_RL = product(query_RK, key_LK)
    rows, hidden_RL = block.end - block.begin, block.hidden_RL
    by_head_HRL = scores_RL.view(-1, rows, scores_RL.size(-1))
    if hidden_RL is None:
        by_head_HRL[:, :, -rows:] += _later()[:rows, :rows]
    else:
        by_head_HRL += hidden_RL
    return torch.softmax(scores_RL, -1)


@cache
def _later() -> Tensor:
    """Minus infinity above the diagonal."""
    return torch.full((ROWS, ROWS), -torch.inf).triu(1)
