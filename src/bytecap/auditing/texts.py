"""Held-out documents as text, and excerpts of them that a model is asked about.

In:   a Question.
Out:  documents; short streams of tokens.

Letters: N tokens of a stream.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from bytecap.auditing.subject import Ids, Question

MIN_DOCUMENT = 3
"""Tokens of the shortest document of an excerpt, its BOS among them."""
DRAWN = 10_000
"""Tokens that stand in for a text where there is none."""
KEPT_CHARACTERS = 1 << 24
"""A training text of at most so many characters is read once for all probes."""
_TRAINING = "training documents"


def held_out_documents(question: Question) -> list[str] | None:
    """Held-out documents as the training documents are given, raw or decoded; None if only tokens are available."""
    text, counter = question.text, question.subject.tokenizer
    if counter is None or (text.raw is not None and not question.training.decoded):
        return None if text.raw is None else list(text.raw)
    tokenizer = counter.tokenizer
    return [tokenizer.decode(ids.tolist()) for ids in text.stream.documents(text.bos)]


def training_documents(question: Question) -> Iterator[str]:
    """The documents of the training text from the first one, kept for other probes where they are few."""
    if _TRAINING in question.memory:
        yield from question.memory[_TRAINING]
        return
    kept, size = list[str](), 0
    for document in question.training.documents():
        size += len(document)
        if size <= KEPT_CHARACTERS:
            kept.append(document)
        else:
            kept.clear()
        yield document
    if size <= KEPT_CHARACTERS:
        question.memory[_TRAINING] = kept


def draw_excerpt(question: Question, length: int, documents: int = 2) -> Ids:
    """A stream of `length` tokens made of `documents` excerpts, each behind a BOS, with at least MIN_DOCUMENT tokens.

    They begin at random places of the held-out text and are of random lengths, so that no position of a stream is
    always the same; where there is no text, tokens are drawn at random.
    """
    places = np.arange(1, length // MIN_DOCUMENT)
    inner = np.sort(question.rng.choice(places, size=documents - 1, replace=False)) * MIN_DOCUMENT
    parts = [_piece(question, end - begin) for begin, end in itertools.pairwise([0, *inner.tolist(), length])]
    drawn_N = np.concatenate(parts)
    assert drawn_N.size == length and drawn_N[0] == question.model.bos
    return drawn_N


def planned_stream(question: Question) -> Ids:
    """The whole held-out text, over which plans are compared; where there is none, tokens drawn at random."""
    text, model = question.subject.text, question.model
    if text is not None and len(text.stream) > 1:
        return text.stream.read(0, len(text.stream))
    drawn_N = question.rng.integers(0, model.vocab_size, size=DRAWN)
    drawn_N[question.rng.random(DRAWN) < 0.01] = model.bos
    drawn_N[0] = model.bos
    return drawn_N


def other_tokens(question: Question, tokens_N: Ids, *, keep_ends: bool = True) -> Ids:
    """For each token a random other one, never BOS. With `keep_ends` each BOS stays, and with it every document's end.

    A document that ends elsewhere may be read in chunks of other shapes, whose sums are rounded otherwise; where bits
    are compared, documents keep their ends.
    """
    model = question.model
    others_V = np.delete(np.arange(model.vocab_size), model.bos)
    drawn_N = others_V[question.rng.integers(0, others_V.size, size=tokens_N.size)]
    same_N = drawn_N == tokens_N
    drawn_N[same_N] = others_V[(np.searchsorted(others_V, drawn_N[same_N]) + 1) % others_V.size]
    return np.where(tokens_N == model.bos, model.bos, drawn_N) if keep_ends else drawn_N


def _piece(question: Question, length: int) -> Ids:
    """BOS and `length - 1` tokens from one place."""
    model, text, rng = question.model, question.subject.text, question.rng
    if text is None or len(text.stream) < 2:
        found_N = rng.integers(0, model.vocab_size, size=length - 1)
    else:
        start = int(rng.integers(0, max(1, len(text.stream) - length)))
        found_N = text.stream.read(start, length - 1)
    found_N = found_N[found_N != model.bos]
    padding_N = rng.integers(0, model.vocab_size, size=length - 1 - found_N.size)
    piece_N = np.concatenate([found_N, padding_N])
    piece_N[piece_N == model.bos] = (model.bos + 1) % model.vocab_size
    return np.concatenate([[model.bos], piece_N])
