"""Loss and bytes of each held-out document, summed while a stream is scored.

In:   a token stream, the id of BOS, losses and bytes of its targets in any order.
Out:  DocumentScores, whose sums are those of the whole score; what a paired comparison over documents needs.

Letters: D documents, T neighbouring targets.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bytecap.text.shards import TokenStream

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
DECIMALS = 6
"""Decimals of a document's nats in files."""
_CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class DocumentScores:
    """Sums over the targets of each document, in the order of the stream."""

    nats_D: Floats
    bytes_D: Counts
    tokens_D: Counts
    """Targets of each: its BOS, which the document before it predicts, and its tokens; the first BOS is no target."""


class DocumentSums:
    """Adds up what is scored by the document that each target lies in.

    A document begins at BOS. Tokens before the first BOS, as shards may begin with, are a document too.
    """

    def __init__(self, stream: TokenStream, bos: int) -> None:
        self._begins_D = document_begins(stream, bos)
        self._clear()

    def empty(self) -> Self:
        """Other sums of the same documents, all of them zero."""
        sums = copy.copy(self)
        sums._clear()
        return sums

    def _clear(self) -> None:
        self.nats_D = np.zeros(len(self._begins_D))
        self.bytes_D = np.zeros(len(self._begins_D), np.int64)
        self.tokens_D = np.zeros(len(self._begins_D), np.int64)

    def add(self, first: int, nats_T: npt.NDArray[Any], bytes_T: npt.NDArray[Any]) -> None:
        """Count the targets at positions `first`, `first` + 1, ... of the stream."""
        if not len(nats_T):
            return
        document_T = np.searchsorted(self._begins_D, np.arange(first, first + len(nats_T)), side="right") - 1
        low = int(document_T[0])
        found, part_T = slice(low, int(document_T[-1]) + 1), document_T - low
        self.nats_D[found] += np.bincount(part_T, weights=nats_T)
        self.bytes_D[found] += np.bincount(part_T, weights=bytes_T).astype(np.int64)
        self.tokens_D[found] += np.bincount(part_T)

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """What several processes that share a stream add up."""
        return self.nats_D, self.bytes_D, self.tokens_D

    def scores(self) -> DocumentScores:
        """What has been counted so far."""
        return DocumentScores(nats_D=self.nats_D, bytes_D=self.bytes_D, tokens_D=self.tokens_D)


def document_begins(stream: TokenStream, bos: int) -> Counts:
    """Positions at which documents begin: each BOS, and the beginning of the stream."""
    found = [start + np.flatnonzero(stream.read(start, _CHUNK) == bos) for start in range(0, len(stream), _CHUNK)]
    return np.union1d([0], np.concatenate(found or [np.zeros(0, np.int64)])).astype(np.int64)


def documents_json(scores: dict[str, DocumentScores]) -> dict[str, Any]:
    """What `score.json` says of the documents of several scores on one text, whose bytes and tokens are the same."""
    if not scores:
        return {}
    any_of_them = next(iter(scores.values()))
    return {
        "bytes": any_of_them.bytes_D.tolist(),
        "tokens": any_of_them.tokens_D.tolist(),
        "nats": {name: its.nats_D.round(DECIMALS).tolist() for name, its in scores.items()},
    }
