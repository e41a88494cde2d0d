"""How a model and the memory have done in a document so far: what was expected and came, which predictions were right.

In:   a document's tokens as they come, the model's log probabilities and the candidates before each.
Out:  numbers for the mixture about a candidate and about the place; compiled.

Letters: V vocabulary, L tokens, J moving averages, F features of a candidate.
Source:  the adaptive contexts of paq8's mixers; expected counts as in arXiv 1612.04426.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled
from bytecap.scoring.memory_tables import N_CONTEXTS, POINTER, TOKENS, Tables, Whole, followed

if TYPE_CHECKING:
    from bytecap.scoring.memory_candidates import Candidates

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

NATS, NOVEL, FOUND, LAST_RIGHT = range(4)
"""Places in `average_J`: the model's nats, a quarter of them; tokens that were new, and that were candidates; from
LAST_RIGHT on, for each context, where what followed its context last came again."""
MATCH_RIGHT = LAST_RIGHT + N_CONTEXTS
"""How often the match was right."""
SIMILAR = MATCH_RIGHT + 1
"""The feature of like states of the tokens that came."""
RATE, MATCH_RATE = 0.06, 0.1
"""How fast an average moves, and that of the match."""
NOT_SIMILAR = -2.8
"""What a token counts for SIMILAR that was no candidate."""
BEGIN_J = np.array([1, 0.3, 0.8, *[0.3] * N_CONTEXTS, 0.6, -0.5], np.float32)
N_RECORD = 10
"""Features of a candidate."""
USE_CLASSES = 6
"""Tokens that the document has used 0, 1, 2, 3 to 4, 5 to 8 and more times."""
PRIOR_COUNT = 0.5
"""Added to how often a token came and to how often it was expected."""


class Record(NamedTuple):
    """What is known of one document; arrays that the compiled functions change in place."""

    average_J: Floats
    expected_V: Doubles
    """Sum of the model's probabilities of each token: how often it should have come."""
    log_p_V: Floats
    """The model's log probabilities of the token that comes next."""
    before_V: Doubles
    """`expected_V` before the last position; room for the compiled functions to work in."""
    factor_V: Doubles
    """What multiplies a token's probability beside its counts where it is no candidate, by how often it was used."""


def new_record(vocab_size: int) -> Record:
    """The record of a document that has not begun."""
    expected_V, before_V, factor_V = np.zeros((3, vocab_size))
    return Record(BEGIN_J.copy(), expected_V, np.zeros(vocab_size, np.float32), before_V, factor_V)


@compiled(inner=True)
def note(tables: Tables, work: Candidates, record: Record, token: Whole) -> None:
    """A token has come: compare it with what `tables`, which do not hold it yet, and the candidates said."""
    if tables.numbers_5[TOKENS] == 0:
        return
    average_J, rank, pointer = record.average_J, work.rank_V[token], tables.numbers_5[POINTER]
    tables.log_p_L[tables.numbers_5[TOKENS]] = max(record.log_p_V[token], np.float32(-20.0))
    _move(average_J, NATS, min(-record.log_p_V[token], 20.0) / 4, RATE)
    _move(average_J, NOVEL, 1.0 if tables.count_V[token] == 0 else 0.0, RATE)
    _move(average_J, FOUND, 1.0 if rank > 0 else 0.0, RATE)
    for order in range(N_CONTEXTS):
        slot = tables.slot_O[order]
        if slot >= 0:
            right = tables.node_token_N[tables.context_head_S[slot]] == token
            _move(average_J, LAST_RIGHT + order, 1.0 if right else 0.0, RATE)
    if pointer >= 0:
        _move(average_J, MATCH_RIGHT, 1.0 if tables.history_L[pointer] == token else 0.0, MATCH_RATE)
    similar = work.feature_MF[rank - 1, 1 + 3 * N_CONTEXTS + 4] if rank > 0 else np.float32(NOT_SIMILAR)
    _move(average_J, SIMILAR, similar, RATE)


@compiled(inner=True)
def use_class(count: Whole) -> Whole:
    """The class of a token that was used so often."""
    if count <= 2:
        return count
    if count <= 4:
        return 3
    return 4 if count <= 8 else 5


@compiled(inner=True)
def _move(average_J: Floats, place: int, value: Any, rate: float) -> None:
    average_J[place] += np.float32(rate) * (np.float32(value) - average_J[place])


@compiled(inner=True)
def describe_record(tables: Tables, record: Record, token: Whole, place: Whole, feature_F: Floats) -> None:
    """How often the token and its relative came and should have come, how long ago it followed the two shortest
    contexts, and what the model said of it at `place`, where it last followed one (-1: nowhere), and at other places.
    """
    expected = record.expected_V[token]
    feature_F[0] = np.log((tables.count_V[token] + PRIOR_COUNT) / (expected + PRIOR_COUNT))
    feature_F[1] = np.log(expected + 0.1)
    for order in range(2):
        slot = tables.slot_O[order]
        node = followed(tables, slot, token) if slot >= 0 else np.int32(-1)
        age = tables.numbers_5[TOKENS] - tables.node_last_N[node] if node >= 0 else 0
        feature_F[2 + order] = 3 - np.log(np.float32(age)) / 2 if age > 0 else 0.0
    _describe_relative(tables, record, tables.pieces.relative_V[token], feature_F[4:])
    last, pointer = tables.last_V[token], tables.numbers_5[POINTER]
    feature_F[7] = tables.log_p_L[place if place >= 0 else last] if last >= 0 else np.float32(0)
    predicted = pointer >= 0 and tables.history_L[pointer] == token
    feature_F[8] = tables.log_p_L[pointer] if predicted else np.float32(0)
    feature_F[9] = tables.log_p_L[last] if last >= 0 else np.float32(0)


@compiled(inner=True)
def _describe_relative(tables: Tables, record: Record, relative: Whole, feature_F: Floats) -> None:
    """How often the relative came, and by how much more than it should have, and how long ago."""
    feature_F[0] = feature_F[1] = 0
    last: Whole = -1
    if relative >= 0:
        count, last = tables.count_V[relative], tables.last_V[relative]
        feature_F[0] = np.log(np.float32(count + 1))
        feature_F[1] = np.log((count + PRIOR_COUNT) / (record.expected_V[relative] + PRIOR_COUNT))
    feature_F[2] = np.log(np.float32(tables.numbers_5[TOKENS] - last)) / 3


@compiled(inner=True)
def prior_count(tables: Tables, expected_V: Doubles, token: Whole) -> float:
    """What is added to how often a token came: more where its relative came more often than it should have."""
    relative = tables.pieces.relative_V[token]
    if relative < 0:
        return PRIOR_COUNT
    ratio = (tables.count_V[relative] + PRIOR_COUNT) / (expected_V[relative] + PRIOR_COUNT)
    return PRIOR_COUNT * float(np.sqrt(ratio))
