"""Which tokens may come next by the memory of a document, and what is known about each; compiled.

In:   the tables of the document so far, the model's states at its positions and its log probabilities.
Out:  candidates, with numbers about each and about the place. docs/scoring.md lists them.

Letters: V vocabulary, M candidates, F features of a candidate, C features of the place, K nearest states, T positions
that are mixed together, W those that they are compared with, L tokens of the document, D width of the states.
Source:  a cache over states: arXiv 1612.04426.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled
from bytecap.scoring.memory_record import BEGIN_J, N_RECORD, Record, describe_record
from bytecap.scoring.memory_tables import LAST_ORDER, MATCH, N_CONTEXTS, POINTER, TOKENS, Tables, Whole, followed

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Real: TypeAlias = "float | np.floating[Any]"

CANDIDATES = 32
"""Most candidates of a position."""
PER_CONTEXT = 12
"""Most of them that one context gives, those that followed it last."""
NEAREST, LIKELIEST = 8, 4
"""Candidates from the most similar states, and from the tokens that the model finds likeliest among the others."""
STATES = 2048
"""Positions back up to which states are compared."""
MIN_COSINE = 0.3
SHARPNESS = 14.4
"""A state at cosine c weighs exp(SHARPNESS (c - 1)), and so does one that is aligned by c."""
ALIGNMENT_MEMORY = 0.6
"""Share of the alignment of the positions before that two positions keep; the rest is their states' cosine."""
MIN_ALIGNMENT = 0.2
MAX_NATS = 20.0
"""A log probability is read as at least the negative of this."""
N_OWN = 1 + 3 * N_CONTEXTS + 8
N_FEATURES, N_PLACE = N_OWN + N_RECORD, 4 + 2 * N_CONTEXTS + len(BEGIN_J)
_LONGEST_FIRST = (*range(LAST_ORDER, -1, -1), LAST_ORDER + 3, LAST_ORDER + 2, LAST_ORDER + 4, LAST_ORDER + 1)
"""The contexts in the order in which they give candidates."""
_FIRST_WORD, _LINE = LAST_ORDER + 1, LAST_ORDER + 4


class Likeness(NamedTuple):
    """How like the states at some positions of a document are to those before."""

    cosine_TW: Floats
    """Row t: of position `begin` + t with each position from `first` on; those behind it are not looked at."""
    first: int
    aligned_L: Floats
    """How well each position is aligned with the last; kept from one position to the next."""


class Candidates(NamedTuple):
    """The candidates of a position; arrays by token other than `rank_V` are empty between positions."""

    token_M: Longs
    feature_MF: Floats
    place_C: Floats
    boost_M: Doubles
    rank_V: Longs
    """The place of each token among the candidates of the last position, counted from 1; 0 for those that are none."""
    similar_V: Floats
    """Summed weight of the states that each token followed."""
    nearest_V: Floats
    """Cosine of the most similar of them; -1 for none."""
    aligned_V: Floats
    """The same for positions by their alignment: how like the states there and before are to the last ones."""
    best_aligned_V: Floats
    near_token_K: Longs
    near_cosine_K: Floats
    likeliest_4: Longs
    """The tokens that the model holds for likeliest, -1 where there are fewer."""


def likeness(unit_LD: Floats, aligned_L: Floats, begin: int, end: int) -> Likeness:
    """How like positions `begin` to `end` - 1, whose states are unit vectors, are to those up to STATES before."""
    first = max(0, begin - STATES)
    return Likeness(unit_LD[begin:end] @ unit_LD[first:end].T, first, aligned_L)


def no_candidates(vocab_size: int) -> Candidates:
    """An empty set."""
    return Candidates(
        token_M=np.zeros(CANDIDATES, np.int64),
        feature_MF=np.zeros((CANDIDATES, N_FEATURES), np.float32),
        place_C=np.zeros(N_PLACE, np.float32),
        boost_M=np.zeros(CANDIDATES),
        rank_V=np.zeros(vocab_size, np.int64),
        similar_V=np.zeros(vocab_size, np.float32),
        nearest_V=np.full(vocab_size, -1, np.float32),
        aligned_V=np.zeros(vocab_size, np.float32),
        best_aligned_V=np.full(vocab_size, -1, np.float32),
        near_token_K=np.zeros(NEAREST, np.int64),
        near_cosine_K=np.zeros(NEAREST, np.float32),
        likeliest_4=np.zeros(LIKELIEST, np.int64),
    )


@compiled(inner=True)
def consider(tables: Tables, record: Record, work: Candidates, like: Likeness, t: Whole, log_p_V: Floats) -> Whole:
    """Find and describe the candidates behind the document's last token, row t of `like`; how many there are."""
    total = _compare_states(tables, like, t, work)
    found = _from_contexts(tables, work)
    found = _from_model(log_p_V, work, found)
    _describe_place(tables, log_p_V, total, work)
    for j in range(BEGIN_J.size):
        work.place_C[N_PLACE - BEGIN_J.size + j] = record.average_J[j]
    for m in range(found):
        place = _describe_contexts(tables, work.token_M[m], work.feature_MF[m])
        _describe_use(tables, work.token_M[m], total, work, work.feature_MF[m])
        describe_record(tables, record, work.token_M[m], place, work.feature_MF[m, N_OWN:])
        work.feature_MF[m, 0] = max(log_p_V[work.token_M[m]], np.float32(-MAX_NATS))
    _forget_states(tables, work)
    return found


@compiled()
def forget(work: Candidates) -> None:
    """Empty the set."""
    for m in range(CANDIDATES):
        work.rank_V[work.token_M[m]] = 0


@compiled(fastmath=True, inner=True)
def _compare_states(tables: Tables, like: Likeness, t: Whole, work: Candidates) -> Real:
    """Weigh each earlier state by its likeness to the last one, for the token that followed it; the sum of weights."""
    last = tables.numbers_5[TOKENS] - 1
    cosine_W, aligned_L, first = like.cosine_TW[t], like.aligned_L, like.first
    total, near = np.float32(0), 0
    for k in range(NEAREST):
        work.near_token_K[k] = -1
    for i in range(last - 1, max(0, last - STATES) - 1, -1):
        cosine = cosine_W[i - first]
        token = tables.history_L[i + 1]
        before = aligned_L[i - 1] if i > 0 else np.float32(0)
        aligned_L[i] = np.float32(1 - ALIGNMENT_MEMORY) * cosine + np.float32(ALIGNMENT_MEMORY) * before
        if aligned_L[i] >= MIN_ALIGNMENT:
            work.aligned_V[token] += np.exp(np.float32(SHARPNESS) * (aligned_L[i] - np.float32(1)))
            work.best_aligned_V[token] = max(work.best_aligned_V[token], aligned_L[i])
        if cosine < MIN_COSINE:
            continue
        weight = np.exp(np.float32(SHARPNESS) * (cosine - np.float32(1)))
        total += weight
        work.similar_V[token] += weight
        work.nearest_V[token] = max(work.nearest_V[token], cosine)
        if near < NEAREST or cosine > work.near_cosine_K[near - 1]:
            near = _insert_near(work, near, token, cosine)
    return total


@compiled(inner=True)
def _insert_near(work: Candidates, near: int, token: Whole, cosine: Real) -> int:
    """One more of the nearest states, in its place; how many there are."""
    near = min(near + 1, NEAREST)
    at = near - 1
    while at > 0 and work.near_cosine_K[at - 1] < cosine:
        work.near_cosine_K[at] = work.near_cosine_K[at - 1]
        work.near_token_K[at] = work.near_token_K[at - 1]
        at -= 1
    work.near_cosine_K[at] = cosine
    work.near_token_K[at] = token
    return near


@compiled(inner=True)
def _forget_states(tables: Tables, work: Candidates) -> None:
    """Empty what `_compare_states` filled in."""
    last = tables.numbers_5[TOKENS] - 1
    for i in range(max(0, last - STATES), last):
        token = tables.history_L[i + 1]
        work.similar_V[token] = 0
        work.nearest_V[token] = -1
        work.aligned_V[token] = 0
        work.best_aligned_V[token] = -1


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
        if work.near_token_K[k] >= 0:
            found = _add(work, found, work.near_token_K[k])
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
        if order == _FIRST_WORD:
            node = 0
        elif order == _LINE:
            node = beginning
        if slot < 0:
            feature_F[at] = feature_F[at + 1] = feature_F[at + 2] = 0
            continue
        if node >= 0:
            node = followed(tables, slot, token)
        if order == _FIRST_WORD:
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
    feature_F[at + 4] = _log(work.similar_V[token] / total + 0.003) + 3 if total > 0 else np.float32(0)
    feature_F[at + 5] = work.nearest_V[token]
    feature_F[at + 6] = _log(work.aligned_V[token] + 0.003)
    feature_F[at + 7] = work.best_aligned_V[token]


@compiled(inner=True)
def _log(value: Real | Whole) -> Any:
    return np.log(np.float32(value))
