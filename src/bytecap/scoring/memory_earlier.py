"""What the documents before this one have said: a second source of a memory, beside the document's own; compiled.

In:   whole documents, one after the other; the contexts of the document at hand.
Out:  candidates that followed the same contexts there, numbers about each candidate and about the place.

Documents are absorbed once they have ended, so all of them were scored before. The tables hold at most MAX_TOKENS
tokens; when there are more, the oldest documents go.

Letters: O orders, F features of a candidate, C features of the place, N tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled
from bytecap.scoring.memory_tables import (
    FIRST_WORD,
    LINE,
    MIN_MATCH_ORDER,
    N_CONTEXTS,
    ORDERS,
    TOKENS,
    Ints,
    Tables,
    Whole,
    absorb,
    find_slot,
    followed,
    new_tables,
)
from bytecap.scoring.memory_words import Pieces, clear_words

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]

MAX_TOKENS = 1 << 17
"""Most tokens of earlier documents that are remembered; beyond that the oldest go until half as many are left."""
MIN_TOKENS = 1 << 14
MAX_LENGTH = 32
"""Tokens up to which a new match is counted backwards; one that goes on counts on."""
BEGIN_RIGHT, RIGHT_RATE = 0.6, 0.1
"""How often the match was right: where this average begins, and how fast it moves."""
N_EARLIER = 2 * N_CONTEXTS + 1
"""Features of a candidate."""
N_EARLIER_PLACE = N_CONTEXTS + 2
PLACE, LENGTH = range(2)
"""Places in `match_2`: the position that the match predicts (-1: no match) and its length in tokens."""


class Earlier(NamedTuple):
    """Earlier documents, and where the one at hand stands in them; arrays that compiled functions change in place."""

    tables: Tables
    slot_O: Longs
    """Where the contexts that end at the last token stand in the tables, -1 for nowhere."""
    match_2: Longs
    right_1: Floats
    """A moving average over all documents: 1 where the match was right, 0 where it was wrong."""


def new_earlier(vocab_size: int, tokens: int = 1, pieces: Pieces | None = None) -> Earlier:
    """No documents yet, with room for `tokens` tokens."""
    return Earlier(
        new_tables(vocab_size, tokens, pieces),
        np.full(N_CONTEXTS, -1, np.int64),
        np.array([-1, 0], np.int64),
        np.full(1, BEGIN_RIGHT, np.float32),
    )


class EarlierDocuments:
    """The documents that have ended, in their order, and tables of the last of them."""

    def __init__(self, vocab_size: int, pieces: Pieces) -> None:
        self._vocab_size, self._pieces, self._room = vocab_size, pieces, MIN_TOKENS
        self._documents: list[Ints] = []
        self.source = new_earlier(vocab_size, self._room, pieces)

    def add(self, document_N: Ints) -> None:
        """Take in a document that has ended; the next begins."""
        self._documents.append(document_N[-MAX_TOKENS // 2 :].copy())
        tokens = sum(map(len, self._documents))
        if tokens > self._room:
            self._make_room(tokens)
        else:
            absorb_document(self.source.tables, self._documents[-1])
        self.source.match_2[:] = -1, 0

    def _make_room(self, tokens: int) -> None:
        """Larger tables of all documents, or tables of the last ones where they are as large as they may be."""
        if tokens > MAX_TOKENS:
            while tokens > MAX_TOKENS // 2:
                tokens -= len(self._documents.pop(0))
        while self._room < tokens:
            self._room *= 2
        larger = new_earlier(self._vocab_size, self._room, self._pieces)
        for document_N in self._documents:
            absorb_document(larger.tables, document_N)
        larger.right_1[:] = self.source.right_1
        self.source = larger


@compiled()
def absorb_document(tables: Tables, token_N: Ints) -> None:
    """Take in a document, which follows what came before as far as its first token, BOS, goes."""
    clear_words(tables.state_9)
    for n in range(token_N.size):
        absorb(tables, token_N[n])


@compiled(inner=True)
def note_earlier(earlier: Earlier, token: Whole) -> None:
    """Move the average of how often the match was right: a token has come."""
    pointer = earlier.match_2[PLACE]
    if pointer >= 0:
        right = np.float32(1) if earlier.tables.history_L[pointer] == token else np.float32(0)
        earlier.right_1[0] += np.float32(RIGHT_RATE) * (right - earlier.right_1[0])


@compiled(inner=True)
def find_earlier(earlier: Earlier, tables: Tables) -> None:
    """Where the contexts of the document at hand, which `tables` are about, stand in earlier ones."""
    for order in range(N_CONTEXTS):
        key = tables.key_O[order]
        earlier.slot_O[order] = find_slot(earlier.tables.context_key_S, key) if key != 0 else np.int64(-1)
    past, match, last = earlier.tables, earlier.match_2, tables.numbers_5[TOKENS] - 1
    pointer = match[PLACE]
    if pointer >= 0 and past.history_L[pointer] == tables.history_L[last] and pointer + 1 < past.numbers_5[TOKENS]:
        match[PLACE] += 1
        match[LENGTH] += 1
        return
    match[PLACE], match[LENGTH] = -1, 0
    slot = earlier.slot_O[MIN_MATCH_ORDER]
    if slot < 0:
        return
    pointer, length = np.int64(past.context_last_S[slot]), 0
    longest = min(MAX_LENGTH, pointer, last + 1)
    while length < longest and past.history_L[pointer - 1 - length] == tables.history_L[last - length]:
        length += 1
    if length >= ORDERS[MIN_MATCH_ORDER]:
        match[PLACE], match[LENGTH] = pointer, length


@compiled(inner=True)
def describe_earlier_place(earlier: Earlier, place_C: Floats) -> None:
    """How often each context came in earlier documents; the match and how right it was before."""
    for order in range(N_CONTEXTS):
        slot = earlier.slot_O[order]
        total = earlier.tables.context_total_S[slot] if slot >= 0 else np.int32(0)
        place_C[order] = np.log(np.float32(total + 1))
    place_C[N_CONTEXTS] = np.log(np.float32(earlier.match_2[LENGTH] + 1))
    place_C[N_CONTEXTS + 1] = earlier.right_1[0]


@compiled(inner=True)
def describe_earlier(earlier: Earlier, token: Whole, feature_F: Floats) -> None:
    """How often the token followed each context in earlier documents, as a share and as a count; the match.

    What never followed a context there never followed a longer one that ends in it.
    """
    past, pointer = earlier.tables, earlier.match_2[PLACE]
    node: Whole = 0
    beginning: Whole = 0
    for order in range(N_CONTEXTS):
        slot, at = earlier.slot_O[order], 2 * order
        if order == FIRST_WORD:
            node = 0
        elif order == LINE:
            node = beginning
        if slot < 0:
            feature_F[at] = feature_F[at + 1] = 0
            continue
        if node >= 0:
            node = followed(past, slot, token)
        if order == FIRST_WORD:
            beginning = node
        count = past.node_count_N[node] if node >= 0 else np.int32(0)
        feature_F[at] = np.log(np.float32((count + 0.1) / (past.context_total_S[slot] + 0.2))) + 2
        feature_F[at + 1] = np.log(np.float32(count + 1))
    predicted = pointer >= 0 and past.history_L[pointer] == token
    feature_F[N_EARLIER - 1] = np.log(np.float32(earlier.match_2[LENGTH] + 1)) if predicted else np.float32(0)
