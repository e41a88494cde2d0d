"""Which tokens may come next by the memory of a document, and what is known about each; compiled.

In:   the tables of the document so far and of earlier ones, the model's states at its positions and its log
      probabilities.
Out:  candidates, with numbers about each and about the place. docs/scoring.md lists them.

Letters: V vocabulary, M candidates, F features of a candidate, C features of the place, K nearest states.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled
from bytecap.scoring.memory_earlier import (
    N_EARLIER,
    N_EARLIER_PLACE,
    PLACE,
    Earlier,
    describe_earlier,
    describe_earlier_place,
    find_earlier,
)
from bytecap.scoring.memory_record import BEGIN_J, N_RECORD, Record, describe_record
from bytecap.scoring.memory_states import (
    NEAREST,
    Floats,
    Likeness,
    Longs,
    Real,
    StateWeights,
    compare_states,
    describe_states,
    forget_states,
    new_state_weights,
)
from bytecap.scoring.memory_tables import (
    FIRST_WORD,
    LAST_ORDER,
    LINE,
    MATCH,
    N_CONTEXTS,
    POINTER,
    TOKENS,
    Tables,
    Whole,
    followed,
)

Doubles = npt.NDArray[np.float64]

CANDIDATES = 32
"""Most candidates of a position."""
PER_CONTEXT = 12
"""Most of them that one context gives, those that followed it last."""
PER_EARLIER_CONTEXT = 4
"""The same of a context in earlier documents."""
LIKELIEST = 4
"""Candidates that the model gives, those that are likeliest of the tokens that are none yet."""
MAX_NATS = 20.0
"""A log probability is read as at least the negative of this."""
N_OWN = 1 + 3 * N_CONTEXTS + 8
N_FEATURES, N_PLACE = N_OWN + N_RECORD, 4 + 2 * N_CONTEXTS + len(BEGIN_J)
_LONGEST_FIRST = (*range(LAST_ORDER, -1, -1), LAST_ORDER + 3, LAST_ORDER + 2, LAST_ORDER + 4, LAST_ORDER + 1)
"""The contexts in the order in which they give candidates."""


class Candidates(NamedTuple):
    """The candidates of a position; arrays by token other than `rank_V` are empty between positions."""

    token_M: Longs
    feature_MF: Floats
    place_C: Floats
    boost_M: Doubles
    rank_V: Longs
    """The place of each token among the candidates of the last position, counted from 1; 0 for those that are none."""
    states: StateWeights
    likeliest_4: Longs
    """The tokens that the model holds for likeliest, -1 where there are fewer."""


def no_candidates(vocab_size: int) -> Candidates:
    """An empty set."""
    return Candidates(
        token_M=np.zeros(CANDIDATES, np.int64),
        feature_MF=np.zeros((CANDIDATES, N_FEATURES + N_EARLIER), np.float32),
        place_C=np.zeros(N_PLACE + N_EARLIER_PLACE, np.float32),
        boost_M=np.zeros(CANDIDATES),
        rank_V=np.zeros(vocab_size, np.int64),
        states=new_state_weights(vocab_size),
        likeliest_4=np.zeros(LIKELIEST, np.int64),
    )


@compiled(inner=True)
def consider(
    tables: Tables, earlier: Earlier, record: Record, work: Candidates, like: Likeness, t: Whole, log_p_V: Floats
) -> Whole:
    """Find and describe the candidates behind the document's last token, row t of `like`; how many there are."""
    total = compare_states(tables, like, t, work.states)
    found = _from_contexts(tables, work)
    found = _from_model(log_p_V, work, found)
    find_earlier(earlier, tables)
    found = _from_earlier(earlier, work, found)
    _describe_place(tables, log_p_V, total, work)
    describe_earlier_place(earlier, work.place_C[N_PLACE:])
    for j in range(BEGIN_J.size):
        work.place_C[N_PLACE - BEGIN_J.size + j] = record.average_J[j]
    for m in range(found):
        place = _describe_contexts(tables, work.token_M[m], work.feature_MF[m])
        _describe_use(tables, work.token_M[m], total, work, work.feature_MF[m])
        describe_record(tables, record, work.token_M[m], place, work.feature_MF[m, N_OWN:])
        describe_earlier(earlier, work.token_M[m], work.feature_MF[m, N_FEATURES:])
        work.feature_MF[m, 0] = max(log_p_V[work.token_M[m]], np.float32(-MAX_NATS))
    forget_states(tables, work.states)
    return found


@compiled()
def forget(work: Candidates) -> None:
    """Empty the set."""
    for m in range(CANDIDATES):
        work.rank_V[work.token_M[m]] = 0


@compiled(inner=True)
def _add(work: Candidates, found: Whole, token: Whole) -> Whole:
    """One candidate more, if it is none yet and there is room; how many there are."""
    if found == CANDIDATES or work.rank_V[token] > 0:
        return found
    work.token_M[found] = token
    work.rank_V[token] = found + 1
    return found + 1


@compiled(inner=True)
def _from_contexts(tables: Tables, work: Candidates) -> Whole:
    """The match's token, those that followed the contexts, the longest first, and those behind the nearest states."""
    found: Whole = 0
    if tables.numbers_5[POINTER] >= 0:
        found = _add(work, found, tables.history_L[tables.numbers_5[POINTER]])
    for order in _LONGEST_FIRST:
        slot = tables.slot_O[order]
        node = tables.context_head_S[slot] if slot >= 0 else np.int32(-1)
        for _ in range(PER_CONTEXT):
            if node < 0:
                break
            found = _add(work, found, tables.node_token_N[node])
            node = tables.node_next_N[node]
    for k in range(NEAREST):
        if work.states.token_K[k] >= 0:
            found = _add(work, found, work.states.token_K[k])
    return found


@compiled(inner=True)
def _from_model(log_p_V: Floats, work: Candidates, found: Whole) -> Whole:
    """The tokens that the model holds for likeliest; the lowest id first among equals."""
    likeliest, last = work.likeliest_4, LIKELIEST - 1
    for at in range(LIKELIEST):
        likeliest[at] = -1
    for v in range(log_p_V.size):
        if work.rank_V[v] > 0 or (likeliest[last] >= 0 and log_p_V[v] <= log_p_V[likeliest[last]]):
            continue
        at = last
        while at > 0 and (likeliest[at - 1] < 0 or log_p_V[likeliest[at - 1]] < log_p_V[v]):
            likeliest[at] = likeliest[at - 1]
            at -= 1
        likeliest[at] = v
    for at in range(LIKELIEST):
        if likeliest[at] >= 0:
            found = _add(work, found, likeliest[at])
    return found


@compiled(inner=True)
def _from_earlier(earlier: Earlier, work: Candidates, found: Whole) -> Whole:
    """The token of the match in earlier documents, and those that followed the contexts there, the longest first."""
    tables = earlier.tables
    if earlier.match_2[PLACE] >= 0:
        found = _add(work, found, tables.history_L[earlier.match_2[PLACE]])
    for order in _LONGEST_FIRST:
        slot = earlier.slot_O[order]
        node = tables.context_head_S[slot] if slot >= 0 else np.int32(-1)
        for _ in range(PER_EARLIER_CONTEXT):
            if node < 0:
                break
            found = _add(work, found, tables.node_token_N[node])
            node = tables.node_next_N[node]
    return found


@compiled(inner=True)
def _describe_place(tables: Tables, log_p_V: Floats, total: Real, work: Candidates) -> None:
    """The features of the place, which all candidates share."""
    place, numbers = work.place_C, tables.numbers_5
    place[0] = log_p_V[0]
    for v in range(1, log_p_V.size):
        place[0] = max(place[0], log_p_V[v])
    place[1] = _log(numbers[TOKENS] + 1)
    place[2] = _log(numbers[MATCH] + 1)
    place[3] = _log(total + 0.003) / 3
    for order in range(N_CONTEXTS):
        slot, at = tables.slot_O[order], 4 + 2 * order
        place[at] = _log(tables.context_total_S[slot] + 1) if slot >= 0 else np.float32(0)
        place[at + 1] = _log(tables.context_distinct_S[slot] + 1) if slot >= 0 else np.float32(0)


@compiled(inner=True)
def _describe_contexts(tables: Tables, token: Whole, feature_F: Floats) -> Whole:
    """How often the token followed each context, as a share and as a count, and whether it was the last that did.

    What never followed a context never followed a longer one that ends in it. Returned is where the token last followed
    the last of the contexts that it has followed, -1 for none.
    """
    node: Whole = 0
    beginning: Whole = 0
    place: Whole = -1
    for order in range(N_CONTEXTS):
        slot, at = tables.slot_O[order], 1 + 3 * order
        if order == FIRST_WORD:
            node = 0
        elif order == LINE:
            node = beginning
        if slot < 0:
            feature_F[at] = feature_F[at + 1] = feature_F[at + 2] = 0
            continue
        if node >= 0:
            node = followed(tables, slot, token)
        if order == FIRST_WORD:
            beginning = node
        if node >= 0:
            place = tables.node_last_N[node]
        count = tables.node_count_N[node] if node >= 0 else np.int32(0)
        feature_F[at] = _log((count + 0.1) / (tables.context_total_S[slot] + 0.2)) + 2
        feature_F[at + 1] = _log(count + 1)
        feature_F[at + 2] = 1 if node >= 0 and tables.context_head_S[slot] == node else 0
    return place


@compiled(inner=True)
def _describe_use(tables: Tables, token: Whole, total: Real, work: Candidates, feature_F: Floats) -> None:
    """How often and when the document used the token, whether the match says so, and after which states it came."""
    numbers, at = tables.numbers_5, 1 + 3 * N_CONTEXTS
    count, tokens = tables.count_V[token], numbers[TOKENS]
    predicted = numbers[POINTER] >= 0 and tables.history_L[numbers[POINTER]] == token
    feature_F[at] = _log((count + 0.1) / (tokens + 1)) + 4
    feature_F[at + 1] = _log(count + 1)
    feature_F[at + 2] = _log(tokens - tables.last_V[token]) / 3
    feature_F[at + 3] = _log(numbers[MATCH] + 1) if predicted else np.float32(0)
    describe_states(work.states, token, total, feature_F[at + 4 :])


@compiled(inner=True)
def _log(value: Real | Whole) -> Any:
    return np.log(np.float32(value))
