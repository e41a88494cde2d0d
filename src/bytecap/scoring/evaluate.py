"""Bits per byte of a model over a token stream.

In:   a model, the validation stream, bytes of each token.
Out:  a Score: summed nats, bytes, tokens, seconds.

Letters: B windows, T positions.
Source:  openai/parameter-golf (bits per byte over targets); docs/scoring.md defines it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch

from bytecap.core.allocator import keep_freed_memory
from bytecap.core.clock import Clock
from bytecap.core.device import autocast
from bytecap.core.distributed import all_reduce, said_by_main, world
from bytecap.core.errors import DataError, NumericsError
from bytecap.core.progress import Progress
from bytecap.core.settings import bounds, check_bounds, tables_by_name
from bytecap.core.units import bits_per_byte
from bytecap.model.gpt import GPT
from bytecap.model.spec import MAX_CONTEXT
from bytecap.scoring.adaptations import adaptation_config
from bytecap.scoring.adaptations.base import AdaptationConfig
from bytecap.scoring.documents import DocumentScores, DocumentSums
from bytecap.scoring.past import STREAMING, WINDOWS, Strategy
from bytecap.scoring.streaming import stream_parts, streamed_losses, streaming_reach
from bytecap.scoring.windows import ScoredSpan, Window, check_stride, count_windows, windows
from bytecap.text.byte_counts import ByteTable
from bytecap.text.shards import TokenStream

DOCUMENTS = "documents"
"""Where the sums of each document stand, in a Score and in `score.json`."""
MAX_BATCH_TOKENS = 1 << 26
"""Most positions run at once."""
_NOT_FINITE = "the model's loss on the validation text is not finite; train again with a lower rate"


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How validation is scored."""

    context: int | None = dataclasses.field(default=None, metadata=bounds(1, MAX_CONTEXT))
    """Positions of each window; None: as many as in training."""
    stride: int = dataclasses.field(default=64, metadata=bounds(1, MAX_CONTEXT))
    """New positions scored by each window after the first; equal to context: windows do not overlap."""
    batch_tokens: int = dataclasses.field(default=8_192, metadata=bounds(1, MAX_BATCH_TOKENS))
    """Positions run at once."""
    strategy: Strategy = WINDOWS
    """How a position gets what came before it: each window is run from its start, or the text runs once through a cache
    of keys and values, and each position sees as many as windows show on average, context - stride / 2."""
    adapt: Mapping[str, AdaptationConfig] = dataclasses.field(
        default_factory=dict, metadata=tables_by_name(adaptation_config)
    )
    """What the model adapts by while it is scored, each with its settings; static scores stand beside it."""

    def __post_init__(self) -> None:
        """ConfigError for numbers that cannot be."""
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class Score:
    """The result of one scoring run."""

    bits_per_byte: float
    nats: float
    text_bytes: int
    tokens: int
    """Targets scored: every token but the first."""
    context: int
    stride: int
    seconds: float
    strategy: str = "windows"
    """How each position gets what came before it: `windows` are run again for each stride, `streaming` keeps keys and
    values, and a `predictor` is somebody else's."""
    adapt: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The settings of each adaptation that the model was scored with; empty for a static score."""
    order: str = "canonical"
    """The order of the documents: as they lie in the stream, or another."""
    static: Mapping[str, Score] = dataclasses.field(default_factory=dict)
    """Beside a score with adaptations those without, `sliding` and `plain`."""
    fault: str = ""
    """What is wrong with it; empty for nothing."""
    documents: DocumentScores | None = dataclasses.field(default=None, repr=False, compare=False)
    """Sums of each document; they stand in `score.json`, not in records."""

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values, without the documents, and without what is empty."""
        values = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != DOCUMENTS
        }
        values["static"] = {name: score.to_json() for name, score in self.static.items()}
        return {name: value for name, value in values.items() if value not in ("", {})}


@torch.no_grad()
def evaluate(
    model: GPT,
    stream: TokenStream,
    table: ByteTable,
    *,
    bos: int,
    context: int,
    stride: int,
    batch_tokens: int,
    progress: Progress,
    byte_stream: TokenStream | None = None,
    strategy: Strategy = WINDOWS,
) -> Score:
    """Score every target of `stream` exactly once. `byte_stream` replaces the table where the shards have a sidecar.

    Several processes share the batches of windows, and each gets the score that one process would give.
    """
    targets = len(stream) - 1
    if targets < 1:
        raise DataError("the validation text has fewer than two tokens; give more text")
    check_stride(stride, context)
    if model.embedding.device.type == "cpu":
        keep_freed_memory()
    clock = Clock()
    plan = _stream_through if strategy == STREAMING else _run_windows
    sums, spans = plan(model, stream, bos, context, stride, batch_tokens)
    scored_N, done, processes = np.zeros(targets, np.uint8), 0, world().size
    nats_W, bytes_W = np.zeros(sums), np.zeros(sums, np.int64)
    documents, was_training = DocumentSums(stream, bos), model.training
    model.eval()
    for number, first, loss_T, tokens_T in spans:
        end = first + len(loss_T)
        scored_N[first:end] += 1
        nats_W[number] += float(loss_T.sum())
        if byte_stream is None:
            counts = table.count(tokens_T[:-1], tokens_T[1:])
        else:
            counts = byte_stream.read(first + 1, end - first)
        bytes_W[number] += counts.sum()
        documents.add(first + 1, loss_T.numpy(), counts)
        done = min(done + (end - first) * processes, targets)
        progress.update(done, targets, f"{done / max(clock.seconds, 1e-9):,.0f} tokens/s")
    model.train(was_training)
    all_reduce([torch.from_numpy(values) for values in (scored_N, nats_W, bytes_W, *documents.arrays)])
    assert (scored_N == 1).all(), "a position was not scored, or scored twice"
    nats, text_bytes = math.fsum(nats_W), int(bytes_W.sum())
    if not np.isfinite(nats):
        raise said_by_main(NumericsError(_NOT_FINITE))
    return Score(
        bits_per_byte=bits_per_byte(nats, text_bytes),
        nats=nats,
        text_bytes=text_bytes,
        tokens=targets,
        context=context,
        stride=stride,
        seconds=clock.seconds,
        strategy=strategy,
        documents=documents.scores(),
    )


def _stream_through(
    model: GPT, stream: TokenStream, bos: int, context: int, stride: int, batch_tokens: int
) -> tuple[int, Iterator[ScoredSpan]]:
    """How many sums there will be, and the losses."""
    parts = stream_parts(stream, bos, isolated=not model.spec.across_documents)
    reach = streaming_reach(context, stride)
    return len(parts), streamed_losses(model, stream, parts, bos=bos, reach=reach, batch_tokens=batch_tokens)


def _run_windows(
    model: GPT, stream: TokenStream, bos: int, context: int, stride: int, batch_tokens: int
) -> tuple[int, Iterator[ScoredSpan]]:
    """How many sums there will be, and the losses."""
    targets = len(stream) - 1
    batches = _my_batches(windows(targets, context=context, stride=stride), batch_tokens)
    return count_windows(targets, context=context, stride=stride), _windowed_losses(model, stream, bos, batches)


def _my_batches(all_windows: Iterator[Window], batch_tokens: int) -> Iterator[tuple[int, list[Window]]]:
    """Every `world().size`-th batch of windows, with the number of its first window."""
    first_window = 0
    for number, group in enumerate(_batches(all_windows, batch_tokens)):
        if number % world().size == world().rank:
            yield first_window, group
        first_window += len(group)


def _batches(all_windows: Iterator[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Neighbouring windows of one length that skip equally much, as many as fit."""
    for (length, _), group in groupby(all_windows, key=lambda window: (window.length, window.skip)):
        most = max(1, batch_tokens // length)
        batch: list[Window] = []
        for window in group:
            batch.append(window)
            if len(batch) == most:
                yield batch
                batch = []
        if batch:
            yield batch


def _windowed_losses(
    model: GPT, stream: TokenStream, bos: int, batches: Iterator[tuple[int, list[Window]]]
) -> Iterator[ScoredSpan]:
    device = model.embedding.device
    for first_window, group in batches:
        rows_BT = np.stack([stream.read(window.start, window.length + 1) for window in group])
        tensor_BT = torch.from_numpy(rows_BT).to(device)
        with autocast(device):
            loss_BT = model(tensor_BT[:, :-1], tensor_BT[:, 1:], bos, skip=group[0].skip)
        loss_BT = loss_BT.float().cpu().double()
        for number, (window, loss_T, row_T) in enumerate(zip(group, loss_BT, rows_BT, strict=True), first_window):
            yield ScoredSpan(number, window.start + window.skip, loss_T, row_T[window.skip :])
