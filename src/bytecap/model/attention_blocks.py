"""Causal attention isolated by document, in blocks of queries that stay in the processor's cache.

A block of queries is compared with keys from about the start of its first document to its own end, so neither later
positions nor most of other documents cost anything, and all products go through oneDNN.
The weights of a block are made again in the backward pass, so no tensor has the square of T.

Letters: B sequences, T positions, H query heads, G key/value heads, K head width, R queries of a block times the heads
         of its group, L keys of a block.
Source:  FlashAttention, arXiv 2205.14135 (blocks, weights made again in the backward pass).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bytecap.core.products import product, suits

ROWS = 256
"""Most queries of a block."""
_LONG, _ROWS_OF_LONG = 512, 128
"""Sequences from this length on fall into shorter blocks, which leave more of the later keys out."""
_MIN_SIZE = 8_192
"""Positions times head width from which blocks are quicker than PyTorch's attention with a mask."""


class QueryBlock(NamedTuple):
    """Queries `begin` to `end - 1` of one sequence, compared with keys `start` to `end - 1`."""

    sequence: int
    start: int
    begin: int
    end: int
    hidden_RL: Tensor | None
    """Minus infinity where a query may not see a key, 0 elsewhere; None where only later positions are hidden."""


def blocks_pay(positions: int, d_head: int, weight: Tensor) -> bool:
    """True where blocks can be used and are quicker; `weight` is any of the model."""
    return positions * d_head >= _MIN_SIZE and suits(weight) and not torch.is_autocast_enabled("cpu")


def query_blocks(document_BT: Tensor, *, isolated: bool = True) -> list[QueryBlock]:
    """All blocks of a batch; `document_BT` is the running number of each position's document within its sequence.

    Keys begin where a block does, so that few shapes occur: oneDNN prepares each shape once.
    """
    positions = document_BT.size(1)
    rows = ROWS if positions < _LONG else _ROWS_OF_LONG
    found = []
    for sequence, document_T in enumerate(document_BT.tolist()):
        for begin in range(0, positions, rows):
            end, start = min(begin + rows, positions), 0
            if isolated:
                start = document_T.index(document_T[begin]) // rows * rows
            one_document = not isolated or document_T[start] == document_T[end - 1]
            hidden_RL = None if one_document else _hidden(document_BT[sequence], start, begin, end)
            found.append(QueryBlock(sequence, start, begin, end, hidden_RL))
    return found


def _hidden(document_T: Tensor, start: int, begin: int, end: int) -> Tensor:
    hidden_RL = torch.zeros(end - begin, end - start)
    hidden_RL[:, begin - start :] = _later()[: end - begin, : end - begin]
    others_RL = document_T[begin:end, None] != document_T[None, start:end]
    return hidden_RL.masked_fill_(others_RL, -torch.inf)


def attend(query_BHTK: Tensor, key_BGTK: Tensor, value_BGTK: Tensor, blocks: list[QueryBlock]) -> Tensor:
    """softmax(q kᵀ / √K) v of each block, (B, H, T, K); float32 on CPU only (`suits`)."""
    assert suits(query_BHTK, key_BGTK, value_BGTK)
    return _Attend.apply(query_BHTK, key_BGTK, value_BGTK, blocks)  # type: ignore[no-any-return, no-untyped-call]


class _Attend(torch.autograd.Function):
    """The weighted values, and the gradients of queries, keys and values."""

    @staticmethod
    def forward(ctx: Any, query_BHTK: Tensor, key_BGTK: Tensor, value_BGTK: Tensor, blocks: list[QueryBlock]) -> Tensor:
        scaled_BHTK = query_BHTK * query_BHTK.size(-1) ** -0.5
        key_BGTK, value_BGTK = key_BGTK.contiguous(), value_BGTK.contiguous()
        ctx.save_for_backward(scaled_BHTK, key_BGTK, value_BGTK)
        ctx.blocks = blocks
        B, H, T, K = query_BHTK.shape
        heads_BTHK = query_BHTK.new_empty(B, T, H, K)  # in the order in which the next map reads it
        for block, group, heads in _parts(blocks, H, key_BGTK.size(1)):
            keys = (block.sequence, group, slice(block.start, block.end))
            weights_RL = _weights(_rows(scaled_BHTK, block, heads), key_BGTK[keys], block)
            mixed_RK = product(weights_RL, value_BGTK[keys].T)
            out_NHK = heads_BTHK[block.sequence, block.begin : block.end, heads]
            out_NHK.copy_(mixed_RK.view(-1, block.end - block.begin, K).transpose(0, 1))
        return heads_BTHK.transpose(1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_BHTK: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        scaled_BHTK, key_BGTK, value_BGTK = ctx.saved_tensors
        B, H, T, K = scaled_BHTK.shape
        G = key_BGTK.size(1)
        to_query_BHTK = torch.empty_like(scaled_BHTK)
        to_key_BGKT, to_value_BGKT = scaled_BHTK.new_zeros(2, B, G, K, T)
        for block, group, heads in _parts(ctx.blocks, H, G):
            place, columns = (block.sequence, group), slice(block.start, block.end)
            query_RK, gradient_RK = _rows(scaled_BHTK, block, heads), _rows(gradient_BHTK, block, heads)
            key_LK, value_LK = key_BGTK[place][columns], value_BGTK[place][columns]
            weights_RL = _weights(query_RK, key_LK, block)
            to_weights_RL = product(gradient_RK, value_LK)
            to_scores_RL = torch.ops.aten._softmax_backward_data(to_weights_RL, weights_RL, -1, torch.float32)
            to_query_RK = product(to_scores_RL, key_LK.T)
            to_query_BHTK[block.sequence, heads, block.begin : block.end] = to_query_RK.view(
                -1, block.end - block.begin, K
            )
            to_key_BGKT[place][:, columns] += product(query_RK.T, to_scores_RL.T)
            to_value_BGKT[place][:, columns] += product(gradient_RK.T, weights_RL.T)
        return to_query_BHTK.mul_(K**-0.5), to_key_BGKT.mT, to_value_BGKT.mT, None


def _parts(blocks: list[QueryBlock], n_heads: int, n_groups: int) -> list[tuple[QueryBlock, int, slice]]:
    """Each block with each key/value head and the slice of query heads that share it."""
    shared = n_heads // n_groups
    return [(b, group, slice(group * shared, (group + 1) * shared)) for b in blocks for group in range(n_groups)]


def _rows(heads_BHTK: Tensor, block: QueryBlock, heads: slice) -> Tensor:
    """The block's rows of some heads, one head after the other, (R, K)."""
    return heads_BHTK[block.sequence, heads, block.begin : block.end].reshape(-1, heads_BHTK.size(-1))


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
