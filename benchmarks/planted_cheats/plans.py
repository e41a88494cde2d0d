"""Cheats in the plan of a score: what is scored when, and how often."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from bytecap.auditing.subject import Ids, Subject
from bytecap.scoring.windows import Window
from planted_cheats.base import Planted, Rng


def _with_plan(subject: Subject, plan: Callable[[Ids, int], Iterator[Window]]) -> Subject:
    assert subject.model is not None
    return dataclasses.replace(subject, model=dataclasses.replace(subject.model, plan=plan))


def tail_twice(subject: Subject, rng: Rng) -> Planted:
    """A tail scored twice: the last window of the text, or of a part of it, goes over positions that were scored."""
    assert subject.model is not None
    honest, again, at_end = subject.model.plan, int(rng.integers(1, 64)), bool(rng.integers(2))
    place = float(rng.random())

    def plan(tokens_N: Ids, bos: int) -> Iterator[Window]:
        planned = list(honest(tokens_N, bos))
        number = len(planned) - 1 if at_end else int(place * len(planned))
        for i, window in enumerate(planned):
            if i == number:
                more = min(again, window.skip) or min(again, window.start)
                skip = window.skip - more if window.skip >= more else window.skip
                start = window.start if window.skip >= more else window.start - more
                yield Window(start, window.start + window.length - start, skip)
                if len(planned) == 1:
                    yield window
            else:
                yield window

    return Planted(
        _with_plan(subject, plan), ("C4",), f"{again} positions again, {'tail' if at_end else f'at {place:.2f}'}"
    )


def length_order(subject: Subject, rng: Rng) -> Planted:
    """An order chosen by length: documents are scored the longest first, or the shortest."""
    longest, chunk = bool(rng.integers(2)), int(rng.integers(16, 129))

    def by_length(tokens_N: Ids, bos: int, sign: int) -> list[tuple[int, int]]:
        edges = [0, *(int(at) - 1 for at in np.flatnonzero(tokens_N == bos) if at > 1), len(tokens_N) - 1]
        documents = [(begin, end) for begin, end in itertools.pairwise(edges) if end > begin]
        return sorted(documents, key=lambda document: sign * (document[1] - document[0]))

    def plan(tokens_N: Ids, bos: int) -> Iterator[Window]:
        ordered = by_length(tokens_N, bos, -1 if longest else 1)
        if ordered == sorted(ordered):  # the text stands in this order by itself: no cheat, so the other one is taken
            ordered = by_length(tokens_N, bos, 1 if longest else -1)
        for begin, end in ordered:
            for start in range(begin, end, chunk):
                yield Window(start, min(chunk, end - start), 0)

    drawn = f"{'longest' if longest else 'shortest'} first, chunks of {chunk}"
    return Planted(_with_plan(subject, plan), ("G1",), drawn)


def future_chunks(subject: Subject, rng: Rng) -> Planted:
    """Chunks as long as a document to come asks for."""
    parts = int(rng.integers(2, 9))

    def plan(tokens_N: Ids, bos: int) -> Iterator[Window]:
        begins = np.flatnonzero(tokens_N == bos)
        longest = int(np.diff([*begins, len(tokens_N)]).max()) if begins.size else len(tokens_N)
        chunk = max(1, longest // parts)
        for start in range(0, len(tokens_N) - 1, chunk):
            yield Window(start, min(chunk, len(tokens_N) - 1 - start), 0)

    return Planted(_with_plan(subject, plan), ("G2",), f"the longest document in {parts} chunks")
