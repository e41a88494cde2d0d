"""Loss of a Hugging Face model on a text: the same windows, the same ledger and the same sums as our own models have.

In:   a CausalModel, a TokenizedText, context and stride.
Out:  a Score, as docs/scoring.md defines it; or nats per token alone where the tokenizer loses text.

Documents are isolated: a window holds tokens of one document.

Letters: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bytecap.core.errors import DataError
from bytecap.core.progress import Progress
from bytecap.core.stopwatch import Stopwatch
from bytecap.core.units import bits_per_byte
from bytecap.huggingface.model import CausalModel
from bytecap.huggingface.texts import TokenizedText
from bytecap.scoring.adaptive import open_ledger
from bytecap.scoring.documents import Counts, document_begins
from bytecap.scoring.evaluate import Score
from bytecap.scoring.ledger import Chunk, Ledger
from bytecap.scoring.windowed import Segment, plan_windows
from bytecap.scoring.windows import check_stride
from bytecap.text.shards import TokenStream

DEFAULT_STRIDE = 64
BATCH_TOKENS = 8_192
BATCH_LOGITS = 1 << 26
"""Most numbers of a batch's log probabilities: 256 MiB."""


@dataclass(frozen=True)
class TextLoss:
    """A score, or what is known where bytes are not."""

    score: Score
    """Where `lost` gives a reason, its bits per byte mean nothing."""
    lost: str
    raw_bytes: int

    def known(self) -> Score:
        """The score; DataError where the tokenizer loses text, with the nats per token."""
        if self.lost:
            nats = self.score.nats / self.score.tokens
            raise DataError(f"no bits per byte can be given ({nats:.6f} nats per token), for {self.lost}", nats=nats)
        return self.score

    def to_json(self) -> dict[str, Any]:
        """JSON values as those of any score; `bits_per_byte` is null where the tokenizer loses text."""
        value = self.score.to_json() | {"nats_per_token": self.score.nats / self.score.tokens}
        value["byte_check"] = {"counted": self.score.text_bytes, "decoded": None, "raw": self.raw_bytes}
        if self.lost:
            value |= {"bits_per_byte": None, "text_bytes": None, "refused": self.lost}
        return value


@torch.no_grad()
def score_tokens(model: CausalModel, text: TokenizedText, *, context: int, stride: int, progress: Progress) -> TextLoss:
    """Score every target of a text exactly once; ConfigError for a stride beyond the context."""
    check_stride(stride, context)
    validation = text.validation()
    ledger, stopwatch, done = open_ledger(validation), Stopwatch(), 0
    device = next(model.module.parameters()).device
    vocab_size = max(model.facts.vocab_size, 1)
    for rows in _batches(segments(text.tokens, text.bos, context, stride), vocab_size):
        skip, width = rows[0].skip, max(row.length for row in rows)
        inputs_BT = np.zeros((len(rows), width), np.int64)  # what fills a row lies behind all that is scored
        for row, segment in zip(inputs_BT, rows, strict=True):
            row[: segment.length] = text.tokens.read(segment.start, segment.length)
        logits_BTV = model.logits(torch.from_numpy(inputs_BT).to(device))[:, skip : skip + max(r.scored for r in rows)]
        for first in range(0, logits_BTV.size(1), most := max(1, BATCH_LOGITS // (vocab_size * len(rows)))):
            done += _commit(ledger, rows, logits_BTV[:, first : first + most], first)
        progress.update(done, ledger.targets, f"{done / max(stopwatch.seconds, 1e-9):,.0f} tokens/s")
    totals = ledger.close()
    bits = 0.0 if text.lost else bits_per_byte(totals.nats, totals.text_bytes)
    score = Score(
        bits_per_byte=bits, nats=totals.nats, text_bytes=totals.text_bytes, tokens=totals.tokens, context=context,
        stride=stride, seconds=stopwatch.seconds, documents=totals.documents,
    )  # fmt: skip
    return TextLoss(score, text.lost, text.raw_bytes)


def _commit(ledger: Ledger, rows: Sequence[Segment], logits_BTV: Tensor, first: int) -> int:
    """Record the losses of a part of some rows, which begins at their scored position `first`; returns how many."""
    going_on = [index for index, row in enumerate(rows) if row.scored > first]
    counts = [min(rows[index].scored - first, logits_BTV.size(1)) for index in going_on]
    starts = [rows[index].start + rows[index].skip + first for index in going_on]
    part_BTV = logits_BTV[going_on, : max(counts)].log_softmax(dim=-1)
    return ledger.commit(Chunk(tuple(starts), tuple(counts)), part_BTV).tokens


def segments(stream: TokenStream, bos: int, context: int, stride: int) -> Iterator[Segment]:
    """What is run to score every target of a stream once, each within its document."""
    begins_D = document_begins(stream, bos)
    for rows_N4 in plan_windows(len(stream) - 1, begins_D, context=context, stride=stride):
        for row_4 in rows_N4:
            yield from _within_documents(Segment(*row_4.tolist()), begins_D)


def _within_documents(row: Segment, begins_D: Counts) -> Iterator[Segment]:
    """The parts of a window that lie in one document each and have positions to score."""
    first, end = row.start + row.skip, row.start + row.skip + row.scored
    inside = begins_D[(begins_D > row.start) & (begins_D < end)].tolist()
    for begin, until in itertools.pairwise([row.start, *inside, end]):
        if (scored := max(begin, first)) < until:
            yield Segment(begin, until - begin, scored - begin, until - scored)


def _batches(rows: Iterator[Segment], vocab_size: int) -> Iterator[Sequence[Segment]]:
    """Neighbouring rows that skip equally much."""
    for _, alike in itertools.groupby(rows, key=lambda row: row.skip):
        batch = list[Segment]()
        for row in alike:
            width = max(row.length, *(other.length for other in batch)) if batch else row.length
            if batch and (len(batch) + 1) * width > min(BATCH_TOKENS, max(1, BATCH_LOGITS // vocab_size)):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch
