"""Bits per byte of a model over a token stream.

In:   a model, a Validation.
Out:  a Score: summed nats, bytes, tokens, seconds.

Letters: B windows, T positions.
Source:  openai/parameter-golf (bits per byte over targets); docs/scoring.md defines it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch

from bytecap.core.allocator import keep_freed_memory
from bytecap.core.distributed import all_reduce, said_by_main, world
from bytecap.core.errors import NumericsError
from bytecap.core.progress import Progress
from bytecap.core.settings import bounds, check_bounds, tables_by_name
from bytecap.core.stopwatch import Stopwatch
from bytecap.core.units import bits_per_byte
from bytecap.model.gpt import GPT
from bytecap.model.spec import MAX_CONTEXT
from bytecap.scoring.adaptations import adaptation_config
from bytecap.scoring.adaptations.base import AdaptationConfig
from bytecap.scoring.documents import DocumentScores, DocumentSums
from bytecap.scoring.ledger import require_once
from bytecap.scoring.past import STREAMING, WINDOWS, Strategy
from bytecap.scoring.streaming import streamed_losses
from bytecap.scoring.validation import Validation
from bytecap.scoring.windowed import windowed_losses
from bytecap.scoring.windows import check_stride

DOCUMENTS = "documents"
"""Where the sums of each document stand, in a Score and in `score.json`."""
Order: TypeAlias = Literal["canonical", "longest_first"]
CANONICAL: Literal["canonical"] = "canonical"
DEFAULT_STRIDE = 64
MAX_BATCH_TOKENS = 1 << 26
"""Most positions run at once."""
_NOT_FINITE = "the model's loss on the validation text is not finite; train again with a lower rate"


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How validation is scored."""

    context: int | None = dataclasses.field(default=None, metadata=bounds(1, MAX_CONTEXT))
    """Positions of each window; None: as many as in training."""
    stride: int = dataclasses.field(default=DEFAULT_STRIDE, metadata=bounds(1, MAX_CONTEXT))
    """New positions scored by each window after the first; equal to context: windows do not overlap."""
    batch_tokens: int = dataclasses.field(default=8_192, metadata=bounds(1, MAX_BATCH_TOKENS))
    """Positions run at once."""
    strategy: Strategy = WINDOWS
    """How a position gets what came before it: each window is run from its start, or the text runs once through a cache
    of keys and values, and each position sees as many as windows show on average, context - stride / 2."""
    order: Order = CANONICAL
    """In which order a model that adapts takes the documents: as they lie in the text, or the longest first as some
    published runs did, which makes what is kept across documents depend on the whole text; a score says so."""
    adapt: Mapping[str, AdaptationConfig] = dataclasses.field(
        default_factory=dict, metadata=tables_by_name(adaptation_config)
    )
    """What the model adapts by while it is scored, each with its settings; static scores are given too."""

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers out of bounds."""
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What every way of scoring a model says; the fields mean what they mean in ScoreConfig."""

    context: int
    batch_tokens: int
    stride: int = DEFAULT_STRIDE
    strategy: Strategy = WINDOWS


@dataclass(frozen=True, kw_only=True)
class StaticScoring(Scoring):
    """How a model is scored as it is."""


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
    values, and a `predictor` is any other object."""
    adapt: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The settings of each adaptation that the model was scored with; empty for a static score."""
    order: Order = CANONICAL
    """The order of the documents: as they lie in the stream, or another."""
    static: Mapping[str, Score] = dataclasses.field(default_factory=dict)
    """For a score with adaptations, those without, `sliding` and `plain`."""
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
def evaluate(model: GPT, validation: Validation, how: StaticScoring, progress: Progress) -> Score:
    """Score every target of the text exactly once.

    Several processes share the batches of windows, and each gets the score that one process would give.
    DataError for a text without a target, ConfigError for a stride beyond the context, NumericsError where the loss is
    not finite.
    """
    stream, byte_stream, bos = validation.stream, validation.byte_stream, validation.bos
    targets = validation.count_targets()
    check_stride(how.stride, how.context)
    if model.embedding.device.type == "cpu":
        keep_freed_memory()
    stopwatch = Stopwatch()
    run = streamed_losses if how.strategy == STREAMING else windowed_losses
    sums, spans = run(model, stream, bos=bos, context=how.context, stride=how.stride, batch_tokens=how.batch_tokens)
    scored_N, done, processes = np.zeros(targets, np.uint8), 0, world().size
    nats_W, bytes_W = np.zeros(sums), np.zeros(sums, np.int64)
    documents, was_training = DocumentSums(stream, bos), model.training
    model.eval()
    for number, first, loss_T, tokens_T in spans:
        end = first + len(loss_T)
        scored_N[first:end] += 1
        nats_W[number] += float(loss_T.sum())
        if byte_stream is None:
            counts = validation.table.count(tokens_T[:-1], tokens_T[1:])
        else:
            counts = byte_stream.read(first + 1, end - first)
        bytes_W[number] += counts.sum()
        documents.add(first + 1, loss_T.numpy(), counts)
        done = min(done + (end - first) * processes, targets)
        progress.update(done, targets, f"{done / max(stopwatch.seconds, 1e-9):,.0f} tokens/s")
    model.train(was_training)
    all_reduce([torch.from_numpy(values) for values in (scored_N, nats_W, bytes_W, *documents.arrays)])
    require_once(scored_N)
    nats, text_bytes = math.fsum(nats_W), int(bytes_W.sum())
    if not np.isfinite(nats):
        raise said_by_main(NumericsError(_NOT_FINITE))
    return Score(
        bits_per_byte=bits_per_byte(nats, text_bytes),
        nats=nats,
        text_bytes=text_bytes,
        tokens=targets,
        context=how.context,
        stride=how.stride,
        seconds=stopwatch.seconds,
        strategy=how.strategy,
        documents=documents.scores(),
    )
