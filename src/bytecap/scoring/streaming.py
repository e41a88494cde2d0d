"""Losses of a stream that runs through a key/value cache: each position sees its own window, and is computed once.

In:   a model, a stream, the context and the stride of the windows that this stands for.
Out:  losses of neighbouring targets, every target once.

Letters: B rows (parts of the stream side by side), T positions of a chunk.
Source:  Transformer-XL, arXiv 1901.02860 (evaluation with a cache); docs/scoring.md defines the score.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from bytecap.core.device import autocast
from bytecap.core.distributed import world
from bytecap.model.attention_blocks import blocks_pay
from bytecap.model.cache import Cache
from bytecap.model.gpt import GPT
from bytecap.scoring.documents import document_begins
from bytecap.scoring.windows import ScoredSpan
from bytecap.text.shards import TokenStream

PART_TOKENS = 1 << 14
"""A part of the stream has at least so many tokens, unless it is the last."""


class StreamPart(NamedTuple):
    """Inputs `begin` to `end - 1` of the stream, which begin with a document."""

    begin: int
    end: int


def streaming_reach(context: int, stride: int) -> int:
    """How many positions each one sees, itself among them: the mean of what windows with this stride show.

    >>> streaming_reach(512, 64)
    480
    """
    return context - stride // 2


def stream_parts(stream: TokenStream, bos: int, *, isolated: bool) -> list[StreamPart]:
    """The inputs of a stream, cut where documents begin; one part where attention crosses documents."""
    last = len(stream) - 1
    cuts = [0]
    for begin in document_begins(stream, bos).tolist() if isolated else ():
        if begin - cuts[-1] >= PART_TOKENS:
            cuts.append(begin)
    return [StreamPart(begin, end) for begin, end in zip(cuts, [*cuts[1:], last], strict=True) if begin < end]


def streamed_losses(
    model: GPT, stream: TokenStream, *, bos: int, context: int, stride: int, batch_tokens: int
) -> tuple[int, Iterator[ScoredSpan]]:
    """How many sums there are, and the losses by part; of several processes each takes its share of the parts.

    Where attention works in blocks one row is quickest, because long chunks share more of what came before them;
    elsewhere a chunk is as long as the window, and parts lie side by side.
    """
    parts = stream_parts(stream, bos, isolated=not model.spec.across_documents)
    reach, rows, chunk = streaming_reach(context, stride), 1, batch_tokens
    if not blocks_pay(batch_tokens, model.spec.d_head, model.embedding):
        chunk = min(batch_tokens, reach)
        rows = max(1, batch_tokens // chunk)
    return len(parts), _losses_by_part(model, stream, parts, rows, bos=bos, reach=reach, chunk=chunk)


def _losses_by_part(
    model: GPT, stream: TokenStream, parts: list[StreamPart], rows: int, *, bos: int, reach: int, chunk: int
) -> Iterator[ScoredSpan]:
    for number, first in enumerate(range(0, len(parts), rows)):
        if number % world().size == world().rank:
            together = parts[first : first + rows]
            for row, start, loss_T, tokens_T in _side_by_side(
                model, stream, together, bos=bos, reach=reach, chunk=chunk
            ):
                yield ScoredSpan(first + row, start, loss_T, tokens_T)


def _side_by_side(
    model: GPT, stream: TokenStream, parts: list[StreamPart], *, bos: int, reach: int, chunk: int
) -> Iterator[tuple[int, int, torch.Tensor, np.ndarray]]:
    """Each row's chunks: its number, the first input, the losses, and the tokens up to the last target."""
    device, cache, place = model.embedding.device, Cache(reach), 0
    running = list(range(len(parts)))
    while running:
        ids = []
        for row in running:
            row_T = np.full(chunk + 1, bos, np.int64)  # behind the end of a part stands BOS, which is not scored
            start = parts[row].begin + place
            found_T = stream.read(start, min(chunk, parts[row].end - start) + 1)
            row_T[: len(found_T)] = found_T
            ids.append(row_T)
        longest = min(chunk, max(parts[row].end - parts[row].begin for row in running) - place)
        tensor_BT = torch.from_numpy(np.stack(ids)[:, : longest + 1]).to(device)
        with autocast(device):
            loss_BT = model(tensor_BT[:, :-1], tensor_BT[:, 1:], bos, cache=cache)
        loss_BT = loss_BT.float().cpu().double()
        for index, row in enumerate(running):
            start = parts[row].begin + place
            count = min(chunk, parts[row].end - start)
            yield row, start, loss_BT[index, :count], ids[index][: count + 1]
        place += chunk
        kept = [index for index, row in enumerate(running) if parts[row].begin + place < parts[row].end]
        if len(kept) < len(running):
            cache.keep(kept)
            running = [running[index] for index in kept]
