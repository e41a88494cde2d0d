"""Excerpts on which the probes of an audit run the model, and its distributions when nothing is changed.

In:   a Question.
Out:  Excerpt: a stream of tokens and its Rows, made once for all probes.

Letters: N tokens of a stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bytecap.auditing.drive import Rows, drive
from bytecap.auditing.opened_files import watching
from bytecap.auditing.subject import CHUNK, Ids, Question
from bytecap.auditing.texts import draw_excerpt, other_tokens
from bytecap.core.device import threads_at_most
from bytecap.scoring.predictor import Predictor, checked_predictor

EXCERPTS = 3
SHORT = 256
"""Tokens of an excerpt where the model never forgets."""
LATER_CHUNKS = 4
"""Chunks of an excerpt beyond those that fill the model's context."""
_PREDICTOR, _EXCERPTS, _AGAIN = "predictor", "excerpts", "read again"


@dataclass(frozen=True)
class Excerpt:
    """A stream and the model's distributions on it."""

    tokens_N: Ids
    rows: Rows


def predictor(question: Question) -> Predictor:
    """The model, built once for all probes."""
    if _PREDICTOR not in question.memory:
        question.memory[_PREDICTOR] = new_predictor(question)
    made: Predictor = question.memory[_PREDICTOR]
    return made


def new_predictor(question: Question) -> Predictor:
    """A newly built model; the files that this opens are noted."""
    with watching(question):
        return checked_predictor(question.model.make())


def excerpts(question: Question) -> list[Excerpt]:
    """Streams of several documents, longer than the model's context."""
    if _EXCERPTS not in question.memory:
        length = (question.model.context or SHORT) + LATER_CHUNKS * CHUNK + 1
        streams = [draw_excerpt(question, length, documents=3) for _ in range(EXCERPTS)]
        question.memory[_EXCERPTS] = [
            Excerpt(tokens_N, run_stream(question, tokens_N, sums=True)) for tokens_N in streams
        ]
    made: list[Excerpt] = question.memory[_EXCERPTS]
    return made


def read_again(question: Question) -> list[Rows]:
    """The model's distributions on each excerpt once more, after random tokens and a reset."""
    if _AGAIN not in question.memory:
        found = list[Rows]()
        for excerpt in excerpts(question):
            run_stream(question, other_tokens(question, excerpt.tokens_N))
            found.append(run_stream(question, excerpt.tokens_N))
        question.memory[_AGAIN] = found
    made: list[Rows] = question.memory[_AGAIN]
    return made


def run_stream(question: Question, tokens_N: Ids, *, by: Predictor | None = None, **how: Any) -> Rows:
    """The distributions on a stream after a reset, of the model or of another one (`by`); `how` goes to `drive`."""
    asked = by or predictor(question)
    with watching(question), threads_at_most(question.model.threads):
        return drive(question.model, asked, tokens_N, **how)


def largest_change(one: Rows, other: Rows, begin: int, end: int) -> float:
    """Nats by which the loss of one of the targets begin .. end - 1 differs most."""
    return float(abs(one.loss_N[begin:end] - other.loss_N[begin:end]).max(initial=0.0))
