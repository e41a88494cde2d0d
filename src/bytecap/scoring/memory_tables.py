"""What a document has said so far: which token followed each context, how often and when last; compiled.

In:   the tokens of a document, one after the other.
Out:  for each order the context that ends at the last token, the tokens that followed it, and the longest match.

Contexts are the last 1, 2, 3, 4 and 6 tokens (`ORDERS`) and, where the texts of tokens are known, those of
`memory_words`, told apart by a hash of 64 bits. The tokens that followed one stand in a list, the one that came last in
front.

Letters: O orders, S slots of contexts, P slots of pairs (context, token), N such pairs, L tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled
from bytecap.core.hashing import mixed
from bytecap.scoring.memory_words import WORD_CONTEXTS, Pieces, clear_words, find_words, read_pieces, read_token

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int32]
Whole: TypeAlias = "int | np.integer[Any]"

ORDERS = (1, 2, 3, 4, 6)
LAST_ORDER = len(ORDERS) - 1
N_CONTEXTS = len(ORDERS) + WORD_CONTEXTS
FIRST_WORD, LINE = LAST_ORDER + 1, LAST_ORDER + 4
"""Places of two contexts by words: the word alone, which the others begin with, and that with the line's first word."""
MIN_MATCH_ORDER = 3
"""Index in ORDERS: a match begins where the last four tokens have been seen before."""
MAX_MATCH = 64
"""Tokens up to which a new match is counted backwards; one that goes on counts on."""
TOKENS, CONTEXTS, PAIRS, POINTER, MATCH = range(5)
"""Places in `numbers_5`: tokens, contexts and pairs so far; the position that the match predicts (-1: no match) and its
length in tokens."""


class Tables(NamedTuple):
    """The statistics of one document; arrays that the compiled functions change in place."""

    context_key_S: Keys
    """0: an empty slot."""
    context_head_S: Ints
    context_total_S: Ints
    context_distinct_S: Ints
    context_last_S: Ints
    """Position of the token that followed the context last."""
    pair_key_P: Keys
    pair_node_P: Ints
    node_token_N: Ints
    node_count_N: Ints
    node_next_N: Ints
    node_last_N: Ints
    """Position of the token when it followed the context last."""
    history_L: Ints
    count_V: Ints
    last_V: Ints
    """Position of each token's last occurrence, -1 for none."""
    key_O: Keys
    """The contexts that end at the last token, those by words last; 0 where the document is shorter."""
    slot_O: npt.NDArray[np.int64]
    """Where it stands in the table; -1 where it was never followed by anything."""
    numbers_5: npt.NDArray[np.int64]
    log_p_L: npt.NDArray[np.float32]
    """The model's log probability of each token of `history_L` when it came; 0 of the first."""
    state_9: Keys
    """What `memory_words` keeps of the text so far."""
    pieces: Pieces


def new_tables(vocab_size: int, tokens: int, pieces: Pieces | None = None) -> Tables:
    """Empty tables with room for `tokens` tokens; a slot more than all their contexts could fill stays empty."""
    orders = N_CONTEXTS
    slots, room = _power_of_two(orders * tokens + 1), orders * tokens
    state_9 = np.zeros(9, np.uint64)
    clear_words(state_9)
    numbers = np.zeros(5, np.int64)
    numbers[POINTER] = -1
    return Tables(
        context_key_S=np.zeros(slots, np.uint64),
        context_head_S=np.zeros(slots, np.int32),
        context_total_S=np.zeros(slots, np.int32),
        context_distinct_S=np.zeros(slots, np.int32),
        context_last_S=np.zeros(slots, np.int32),
        pair_key_P=np.zeros(slots, np.uint64),
        pair_node_P=np.zeros(slots, np.int32),
        node_token_N=np.zeros(room, np.int32),
        node_count_N=np.zeros(room, np.int32),
        node_next_N=np.zeros(room, np.int32),
        node_last_N=np.zeros(room, np.int32),
        history_L=np.zeros(tokens, np.int32),
        count_V=np.zeros(vocab_size, np.int32),
        last_V=np.full(vocab_size, -1, np.int32),
        key_O=np.zeros(orders, np.uint64),
        slot_O=np.full(orders, -1, np.int64),
        numbers_5=numbers,
        log_p_L=np.zeros(tokens, np.float32),
        state_9=state_9,
        pieces=read_pieces((), vocab_size) if pieces is None else pieces,
    )


def with_room(tables: Tables, tokens: int) -> Tables:
    """The tables, or a copy that is larger, with room for `tokens` more."""
    needed = int(tables.numbers_5[TOKENS]) + tokens
    if needed <= tables.history_L.size:
        return tables
    larger = new_tables(tables.count_V.size, max(needed, 2 * tables.history_L.size), tables.pieces)
    _absorb_all(larger, tables.history_L[: tables.numbers_5[TOKENS]])
    larger.log_p_L[: tables.log_p_L.size] = tables.log_p_L
    return larger


def _power_of_two(at_least: int) -> int:
    return 1 << max(4, (at_least - 1).bit_length())


@compiled()
def clear(tables: Tables) -> None:
    """Forget the document."""
    for token in tables.history_L[: tables.numbers_5[TOKENS]]:
        tables.count_V[token] = 0
        tables.last_V[token] = -1
    if tables.numbers_5[CONTEXTS] > 0:
        tables.context_key_S[:] = 0
        tables.pair_key_P[:] = 0
    clear_words(tables.state_9)
    tables.key_O[:] = 0
    tables.slot_O[:] = -1
    tables.numbers_5[:] = 0
    tables.numbers_5[POINTER] = -1


@compiled()
def absorb(tables: Tables, token: Whole) -> None:
    """Take in the document's next token: it has followed the contexts before it, and ends the next ones."""
    position = tables.numbers_5[TOKENS]
    for order in range(tables.key_O.size):
        if tables.key_O[order] != 0:
            _count(tables, tables.key_O[order], token, position)
    tables.history_L[position] = token
    tables.count_V[token] += 1
    tables.last_V[token] = position
    tables.numbers_5[TOKENS] = position + 1
    read_token(tables.pieces, tables.state_9, token)
    _find_contexts(tables)
    _follow_match(tables, token)


@compiled()
def _absorb_all(tables: Tables, token_N: Ints) -> None:
    for token in token_N:
        absorb(tables, token)


@compiled()
def followed(tables: Tables, slot: Whole, token: Whole) -> Whole:
    """The pair (context, token), or -1 where the token never followed the context in that slot."""
    found = find_slot(tables.pair_key_P, mixed(np.uint64(slot), np.uint64(token)))
    return tables.pair_node_P[found] if found >= 0 else np.int32(-1)


@compiled(inner=True)
def _find_contexts(tables: Tables) -> None:
    """The contexts that end at the last token, and their slots."""
    tokens = tables.numbers_5[TOKENS]
    key = np.uint64(1)
    order = 0
    for length in range(1, ORDERS[LAST_ORDER] + 1):
        if length > tokens:
            break
        key = mixed(key, np.uint64(tables.history_L[tokens - length]))
        if length == ORDERS[order]:
            tables.key_O[order] = key
            tables.slot_O[order] = find_slot(tables.context_key_S, key)
            order += 1
    if tables.pieces.char_C.size > 0:
        find_words(tables.state_9, tables.key_O[len(ORDERS) :])
        for order in range(len(ORDERS), N_CONTEXTS):
            tables.slot_O[order] = find_slot(tables.context_key_S, tables.key_O[order])


@compiled(inner=True)
def _follow_match(tables: Tables, token: Whole) -> None:
    """Extend the match where the token is what it predicted, else begin the longest recent one."""
    numbers, history = tables.numbers_5, tables.history_L
    last = numbers[TOKENS] - 1
    if numbers[POINTER] >= 0 and history[numbers[POINTER]] == token:
        numbers[POINTER] += 1
        numbers[MATCH] += 1
        return
    numbers[POINTER] = -1
    numbers[MATCH] = 0
    slot = tables.slot_O[MIN_MATCH_ORDER]
    if slot < 0:
        return
    pointer = np.int64(tables.context_last_S[slot])
    length = 0
    while length < MAX_MATCH and length < pointer and history[pointer - 1 - length] == history[last - length]:
        length += 1
    numbers[POINTER] = pointer
    numbers[MATCH] = length


@compiled(inner=True)
def _count(tables: Tables, key: np.uint64, token: Whole, position: Whole) -> None:
    """The token followed the context once more; its pair moves to the front of the context's list."""
    slot = find_slot(tables.context_key_S, key)
    if slot < 0:
        slot = _insert(tables.context_key_S, key)
        tables.numbers_5[CONTEXTS] += 1
        tables.context_head_S[slot] = -1
        tables.context_total_S[slot] = 0
        tables.context_distinct_S[slot] = 0
    tables.context_total_S[slot] += 1
    tables.context_last_S[slot] = position
    head = tables.context_head_S[slot]
    node = followed(tables, slot, token)
    if node < 0:
        node = np.int32(tables.numbers_5[PAIRS])
        tables.numbers_5[PAIRS] += 1
        place = _insert(tables.pair_key_P, mixed(np.uint64(slot), np.uint64(token)))
        tables.pair_node_P[place] = node
        tables.node_token_N[node] = token
        tables.node_count_N[node] = 1
        tables.node_last_N[node] = position
        tables.context_distinct_S[slot] += 1
    else:
        tables.node_count_N[node] += 1
        tables.node_last_N[node] = position
        if head == node:
            return
        before = head
        while tables.node_next_N[before] != node:
            before = tables.node_next_N[before]
        tables.node_next_N[before] = tables.node_next_N[node]
    tables.node_next_N[node] = head
    tables.context_head_S[slot] = node


@compiled(inner=True)
def find_slot(keys: Keys, key: np.uint64) -> np.int64:
    """Where the key stands; -1 where it does not."""
    last = np.uint64(keys.size - 1)
    at = key & last
    while keys[at] != np.uint64(0):
        if keys[at] == key:
            return np.int64(at)
        at = (at + np.uint64(1)) & last
    return np.int64(-1)


@compiled(inner=True)
def _insert(keys: Keys, key: np.uint64) -> np.int64:
    """The slot of a key that does not stand there yet."""
    last = np.uint64(keys.size - 1)
    at = key & last
    while keys[at] != np.uint64(0):
        at = (at + np.uint64(1)) & last
    keys[at] = key
    return np.int64(at)
