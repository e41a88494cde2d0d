"""Earlier documents as a second source, against lists of what followed each context in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bytecap.scoring import memory_earlier
from bytecap.scoring.memory_candidates import PER_EARLIER_CONTEXT
from bytecap.scoring.memory_earlier import (
    BEGIN_RIGHT,
    MAX_LENGTH,
    RIGHT_RATE,
    EarlierDocuments,
    absorb_document,
    new_earlier,
)
from bytecap.scoring.memory_tables import N_CONTEXTS
from bytecap.scoring.memory_words import read_pieces
from tests.scoring.test_memory_tables import Twin, agrees
from tests.scoring.test_memory_words import TEXTS

VOCAB, BOS = 7, 0


class EarlierTwin:
    """Goes by the definition."""

    def __init__(self, text_V: Sequence[str], documents: Sequence[npt.NDArray[np.integer[Any]]]) -> None:
        self.past, self.right = Twin(text_V), BEGIN_RIGHT
        self.place, self.length = -1, 0
        for document in documents:
            self.past.text = ""
            for token in document.tolist():
                self.past.absorb(token)

    def note(self, token: int) -> None:
        """A token came."""
        if self.place >= 0:
            self.right += RIGHT_RATE * ((self.past.history[self.place] == token) - self.right)

    def find(self, twin: Twin) -> None:
        """The match behind the last token of the document at hand."""
        past, history = self.past.history, twin.history
        if self.place >= 0 and past[self.place] == history[-1] and self.place + 1 < len(past):
            self.place, self.length = self.place + 1, self.length + 1
            return
        seen = self.past.places.get(tuple(history[-4:]), [-1])[-1] if len(history) >= 4 else -1
        equal = [past[seen - 1 - i] == history[-1 - i] for i in range(min(MAX_LENGTH, max(seen, 0), len(history)))]
        length = (*equal, False).index(False)
        self.place, self.length = (seen, length) if length >= 4 else (-1, 0)

    def followers(self, twin: Twin, kind: int) -> list[int]:
        """What followed a context of the document at hand in earlier ones, in their order."""
        context = twin.contexts[kind] if kind < len(twin.contexts) else None
        return [self.past.history[i] for i in self.past.places.get(context, [])] if context is not None else []

    def candidates(self, twin: Twin) -> list[int]:
        """The match's, then those of the contexts."""
        found = [self.past.history[self.place]] if self.place >= 0 else []
        for kind in (4, 3, 2, 1, 0, 7, 6, 8, 5):
            found += list(dict.fromkeys(reversed(self.followers(twin, kind))))[:PER_EARLIER_CONTEXT]
        return found

    def features(self, twin: Twin, token: int) -> list[float]:
        """Of a candidate."""
        found = []
        for kind in range(N_CONTEXTS):
            followers = self.followers(twin, kind)
            count = followers.count(token)
            share = math.log((count + 0.1) / (len(followers) + 0.2)) + 2
            found += [share, math.log(count + 1)] if followers else [0.0, 0.0]
        predicted = self.place >= 0 and self.past.history[self.place] == token
        return [*found, math.log(self.length + 1) if predicted else 0.0]

    def place_features(self, twin: Twin) -> list[float]:
        """Of the place."""
        totals = [math.log(len(self.followers(twin, kind)) + 1) for kind in range(N_CONTEXTS)]
        return [*totals, math.log(self.length + 1), self.right]


def documents(count: int, length: int, seed: int = 0) -> list[npt.NDArray[np.int32]]:
    """Random ones, each behind BOS."""
    random = np.random.default_rng(seed)
    return [np.array([BOS, *random.integers(1, VOCAB, size=length)], np.int32) for _ in range(count)]


def test_a_document_begins_with_no_word() -> None:
    """Words do not reach over BOS, and BOS itself is counted behind the document before."""
    pieces = read_pieces(TEXTS[:VOCAB], VOCAB)
    earlier, given = new_earlier(VOCAB, 128, pieces), documents(3, 30)
    for document in given:
        absorb_document(earlier.tables, document)
    agrees(earlier.tables, EarlierTwin(TEXTS[:VOCAB], given).past)


def test_the_oldest_go_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables grow with the documents; beyond the bound half of it stays, of the last ones, and a long one is cut."""
    monkeypatch.setattr(memory_earlier, "MIN_TOKENS", 16)
    monkeypatch.setattr(memory_earlier, "MAX_TOKENS", 64)
    made, given = EarlierDocuments(VOCAB, read_pieces(TEXTS[:VOCAB], VOCAB)), documents(6, 10)
    expected = [given[:1], given[:2], given[:3], given[:4], given[:5], given[4:]]
    for document, kept in zip(given, expected, strict=True):
        made.add(document)
        agrees(made.source.tables, EarlierTwin(TEXTS[:VOCAB], kept).past)
    (long,) = documents(1, 100)
    made.add(long)
    agrees(made.source.tables, EarlierTwin(TEXTS[:VOCAB], [*given[4:], long[-32:]]).past)
    made.add(given[0])
    assert made.source.tables.history_L.size == 64
