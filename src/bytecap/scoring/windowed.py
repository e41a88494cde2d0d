"""Losses of a stream in the windows of `scoring/windows.py`, with nothing run twice that gives the same.

In:   a model, a stream, context and stride.
Out:  losses of neighbouring targets, every target once.

A model that isolates documents gives a position the same logits in each window that holds its document from the
beginning. Such positions are run once, beginnings of documents packed into rows; only what lies farther than a window
from the beginning of its document is run in windows of its own. `windows` stays the definition.

Letters: B rows, T positions, W windows, D documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, groupby, islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from bytecap.core.device import autocast
from bytecap.core.distributed import world
from bytecap.model.attention_blocks import blocks_pay
from bytecap.model.gpt import GPT
from bytecap.scoring.documents import Counts, document_begins
from bytecap.scoring.windows import ScoredSpan, count_windows
from bytecap.text.shards import TokenStream


class Segment(NamedTuple):
    """Inputs `start` to `start + length - 1`; `scored` of them count, behind the first `skip`."""

    start: int
    length: int
    skip: int
    scored: int


class WindowPlan(NamedTuple):
    """What is run to score every target once; each row of an array is a Segment, of which long texts have millions."""

    beginnings_N4: Counts
    """Beginnings of documents, which may share a row."""
    windows_N4: Counts

    @property
    def positions(self) -> int:
        """How many are run."""
        return sum(int(rows_N4[:, 1].sum()) for rows_N4 in self)


def plan_windows(targets: int, begins_D: Counts | None, *, context: int, stride: int) -> WindowPlan:
    """The windows of `windows`, less what the beginnings of documents give; all of them where that is no less.

    `begins_D` are the positions at which documents begin, None where a model looks across them.
    """
    length = min(context, targets)
    ends_W = np.minimum(length + stride * np.arange(count_windows(targets, context=context, stride=stride)), targets)
    firsts_W = np.concatenate(([0], ends_W[:-1]))
    starts_W = firsts_W if stride == context else ends_W - length  # plain windows share nothing, sliding ones are whole
    lengths_W, skips_W = ends_W - starts_W, firsts_W - starts_W
    nothing_N4 = np.zeros((0, 4), np.int64)
    every = WindowPlan(nothing_N4, np.stack((starts_W, lengths_W, skips_W, ends_W - firsts_W), axis=1))
    if begins_D is None or stride == context:
        return every
    begins_D = begins_D[begins_D < targets]
    following_D = np.append(begins_D[1:], targets)
    own_W = np.searchsorted(begins_D, firsts_W, side="right") - 1  # the document of each window's first new position
    last_D = np.searchsorted(starts_W, begins_D, side="right") - 1  # the last window that holds a document's beginning
    counts_D = np.minimum(following_D, ends_W[last_D]) - begins_D
    needed_W = begins_D[own_W] < starts_W
    counts_W = np.minimum(following_D[own_W], ends_W) - firsts_W
    plan = WindowPlan(
        np.stack((begins_D, counts_D, np.zeros_like(begins_D), counts_D), axis=1),
        np.stack((starts_W, lengths_W, skips_W, counts_W), axis=1)[needed_W],
    )
    return min(plan, every, key=lambda one: one.positions)


def _segments(rows_N4: Counts) -> Iterator[Segment]:
    return (Segment(*row_4.tolist()) for row_4 in rows_N4)


def windowed_losses(
    model: GPT, stream: TokenStream, *, bos: int, context: int, stride: int, batch_tokens: int
) -> tuple[int, Iterator[ScoredSpan]]:
    """How many spans there are, and the losses of each; of several processes each takes its share of the batches."""
    begins_D = None if model.spec.across_documents else document_begins(stream, bos)
    plan = plan_windows(len(stream) - 1, begins_D, context=context, stride=stride)
    in_blocks = blocks_pay(batch_tokens, model.spec.d_head, model.embedding)
    width = max(context, batch_tokens) if in_blocks else context  # of other documents, blocks cost nothing
    batches = chain(
        _batches(_packed(_segments(plan.beginnings_N4), width), batch_tokens // width),
        _batches(([window] for window in _segments(plan.windows_N4)), batch_tokens // context),
    )
    return sum(map(len, plan)), _losses(model, stream, batches, bos)


def _packed(segments: Iterator[Segment], width: int) -> Iterator[list[Segment]]:
    """Rows of at most `width` positions, in order."""
    row, room = list[Segment](), width
    for segment in segments:
        if segment.length > room:
            yield row
            row, room = [], width
        row.append(segment)
        room -= segment.length
    if row:
        yield row


def _batches(rows: Iterator[list[Segment]], most: int) -> Iterator[list[list[Segment]]]:
    """Neighbouring rows, at most `most` or one, that skip equally much and, where they skip, are equally long."""
    for _, alike in groupby(rows, key=lambda row: (row[0].skip, row[0].skip and row[0].length)):
        while batch := list(islice(alike, max(1, most))):
            yield batch


def _losses(model: GPT, stream: TokenStream, batches: Iterator[list[list[Segment]]], bos: int) -> Iterator[ScoredSpan]:
    number, device = 0, model.embedding.device
    for index, rows in enumerate(batches):
        if index % world().size != world().rank:
            number += sum(map(len, rows))
            continue
        width, skip = max(sum(segment.length for segment in row) for row in rows), rows[0][0].skip
        both_2BT = np.full((2, len(rows), width), bos, np.int64)  # inputs and targets; what fills a row is not scored
        spans = list[tuple[int, int, Segment, npt.NDArray[Any]]]()
        for row, segments in enumerate(rows):
            column = 0
            for segment in segments:
                tokens_T = stream.read(segment.start, segment.length + 1)
                place = slice(column, column + segment.length)
                both_2BT[0, row, place], both_2BT[1, row, place] = tokens_T[:-1], tokens_T[1:]
                spans.append((row, column + segment.skip - skip, segment, tokens_T))
                column += segment.length
        tokens_BT, target_BT = torch.from_numpy(both_2BT).to(device)
        with autocast(device):
            loss_BT = model(tokens_BT, target_BT, bos, skip=skip)
        loss_BT = loss_BT.float().cpu().double()
        for row, column, segment, tokens_T in spans:
            loss_T = loss_BT[row, column : column + segment.scored]
            scored_T = tokens_T[segment.skip : segment.skip + segment.scored + 1]
            yield ScoredSpan(number, segment.start + segment.skip, loss_T, scored_T)
            number += 1
