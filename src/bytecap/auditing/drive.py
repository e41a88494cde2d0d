"""Runs a model over a stream exactly as it is scored, and keeps what it said of each target for comparison.

In:   a ScoredModel, its Predictor, a stream of tokens for this one run.
Out:  Rows.

The scorer's own ledger commits each loss; what a model may learn from is what the ledger gives out, nothing else.

Letters: N targets of the stream, T positions of a chunk, V vocabulary, K watched tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bytecap.auditing.subject import Ids, MemoryStream, ScoredModel, in_chunks
from bytecap.core.errors import NumericsError
from bytecap.scoring.ledger import Chunk, Ledger
from bytecap.scoring.predictor import Predictor, next_log_probs
from bytecap.text.byte_counts import ByteTable

WATCHED = 16
"""Tokens of the vocabulary, evenly spread, whose probabilities are kept in addition to the target's."""


@dataclass(frozen=True)
class Rows:
    """What a model said of each target."""

    loss_N: npt.NDArray[np.float64]
    """Nats."""
    digest_N: list[int]
    """Digest of the whole distribution, 64 bits: equal where it is equal to the bit."""
    watched_NK: npt.NDArray[np.float64]
    """Probabilities of some tokens."""
    epsilon: float
    """Distance from 1 to the next number of the type in which the model gives log probabilities."""
    tolerance: float = 0.0
    """By how much two losses or probabilities may differ and count as equal."""
    sum_N: npt.NDArray[np.float64] | None = None
    """Sum of the probabilities of the vocabulary, in float64; None where it was not asked for."""

    def __len__(self) -> int:
        return len(self.digest_N)

    def first(self, count: int) -> Rows:
        """The first targets alone."""
        return self._part(slice(0, count))

    def last(self) -> Rows:
        """The last target alone."""
        return self._part(slice(len(self) - 1, None))

    def _part(self, part: slice) -> Rows:
        arrays = (self.loss_N[part], self.digest_N[part], self.watched_NK[part])
        sum_N = None if self.sum_N is None else self.sum_N[part]
        return Rows(*arrays, self.epsilon, self.tolerance, sum_N)

    def first_difference(self, other: Rows, begin: int, end: int) -> int | None:
        """The first of the targets begin .. end - 1 whose distributions differ in any bit, or by more than counts."""
        both = zip(self.digest_N[begin:end], other.digest_N[begin:end], strict=True)
        differing = (begin + i for i, (one, two) in enumerate(both) if one != two)
        return next((at for at in differing if not self._near(other, at)), None)

    def _near(self, other: Rows, at: int) -> bool:
        """Return whether two distributions count as equal though their bits differ."""
        loss, p_K = self.loss_N[at] - other.loss_N[at], self.watched_NK[at] - other.watched_NK[at]
        return self.tolerance > 0 and bool(max(abs(loss), abs(p_K).max()) <= self.tolerance)


def drive(
    model: ScoredModel, predictor: Predictor, tokens_N: Ids, *, start: int = 0, until: int | None = None,
    learn: bool = True, piece: int = 0, sums: bool = False,
) -> Rows:  # fmt: skip
    """Ask about the targets of a stream from the chunk that begins at `start` to the one that holds target `until`.

    Without `learn` the model is asked and never told what was scored. With a `piece` it is shown at most so many tokens
    at once, whatever the plan of scoring says. With `sums` each distribution is added up.
    """
    ledger = Ledger(MemoryStream(tokens_N), _no_bytes(model.vocab_size), model.bos)
    predictor.reset()
    asked: list[Rows] = []
    for begin, end in chunks(model, tokens_N):
        if begin < start:
            continue
        if until is not None and begin > until:
            break
        for first in range(begin, end, piece or end - begin):
            count = min(end - first, piece or end - begin)
            chunk = Chunk((first,), (count,))
            row_TV = _log_probs(predictor, ledger.inputs(chunk)[0], model)
            asked.append(_look(row_TV, tokens_N[first + 1 : first + count + 1], model.tolerance, sums))
            if learn:
                with suppress(NumericsError):  # a score would end here; a probe goes on and tells of it
                    predictor.learn(ledger.commit(chunk, torch.from_numpy(row_TV)[None]))
    return joined(asked)


def joined(parts: Sequence[Rows]) -> Rows:
    """Neighbouring targets as one."""
    sums = [part.sum_N for part in parts if part.sum_N is not None]
    return Rows(
        np.concatenate([part.loss_N for part in parts]),
        [digest for part in parts for digest in part.digest_N],
        np.concatenate([part.watched_NK for part in parts]),
        max(part.epsilon for part in parts),
        max(part.tolerance for part in parts),
        np.concatenate(sums) if len(sums) == len(parts) else None,
    )


def _look(row_TV: npt.NDArray[np.floating[Any]], target_T: Ids, tolerance: float, sums: bool) -> Rows:
    """What is kept of distributions."""
    watched_K = np.unique(np.linspace(0, row_TV.shape[1] - 1, WATCHED).astype(int))
    return Rows(
        loss_N=-row_TV[np.arange(len(target_T)), target_T].astype(np.float64),
        digest_N=[hash(row_V.tobytes()) for row_V in row_TV],
        watched_NK=np.exp(row_TV[:, watched_K].astype(np.float64)),
        epsilon=float(np.finfo(row_TV.dtype).eps),
        tolerance=tolerance,
        sum_N=np.exp(row_TV.astype(np.float64)).sum(axis=1) if sums else None,
    )


def _no_bytes(vocab_size: int) -> ByteTable:
    """A table for ledgers whose bytes are not used."""
    zero_V = np.zeros(vocab_size, np.int64)
    return ByteTable(zero_V, zero_V.astype(bool), zero_V.astype(bool), False)


def _log_probs(predictor: Predictor, tokens_T: Tensor, model: ScoredModel) -> npt.NDArray[np.floating[Any]]:
    """The rows of one chunk; ConfigError where they are not one distribution for each token."""
    return np.ascontiguousarray(next_log_probs(predictor, tokens_T, model.vocab_size).detach().cpu().numpy())


def chunks(model: ScoredModel, tokens_N: Ids) -> Iterator[tuple[int, int]]:
    """Targets begin .. end - 1 (target i is token i + 1) of each chunk, in the order of the stream."""
    planned = sorted((w.start + w.skip, w.start + w.length) for w in model.plan(tokens_N, model.bos))
    edges = [0, *(end for _, end in planned)]
    if [begin for begin, _ in planned] != edges[:-1] or edges[-1] != len(tokens_N) - 1:
        planned = [(w.start, w.start + w.length) for w in in_chunks(tokens_N, model.bos)]
    yield from planned
