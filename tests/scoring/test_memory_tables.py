"""The tables of a document against dictionaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from bytecap.scoring.memory_tables import (
    CONTEXTS,
    MATCH,
    MAX_MATCH,
    N_CONTEXTS,
    ORDERS,
    PAIRS,
    POINTER,
    Tables,
    absorb,
    clear,
    followed,
    new_tables,
    with_room,
)  # fmt: skip
from bytecap.scoring.memory_words import read_pieces
from tests.scoring.test_memory_words import TEXTS, slow_contexts

VOCAB = 7


class Twin:
    """The same as lists of what followed each context, in the order of the text."""

    def __init__(self, text_V: Sequence[str] = ()) -> None:
        self.text_V, self.text = text_V, ""
        self.history: list[int] = []
        self.contexts: list[tuple[object, ...] | None] = [None] * N_CONTEXTS
        """What stands before the next token, for each kind of context; None for a document that is too short."""
        self.places: dict[tuple[object, ...], list[int]] = {}
        """Where the tokens stand that followed a context."""
        self.pointer, self.match = -1, 0

    def absorb(self, token: int) -> None:
        for context in self.contexts:
            if context is not None:
                self.places.setdefault(context, []).append(len(self.history))
        self.history.append(token)
        self.contexts = [tuple(self.history[-n:]) if len(self.history) >= n else None for n in ORDERS]
        if self.text_V:
            self.text += self.text_V[token].lower()
            self.contexts += slow_contexts(self.text)
        if self.pointer >= 0 and self.history[self.pointer] == token:
            self.pointer, self.match = self.pointer + 1, self.match + 1
            return
        self.pointer = self.places.get(tuple(self.history[-4:]), [-1])[-1] if len(self.history) >= 4 else -1
        self.match = 0
        while self.pointer >= 0 and self.match < min(MAX_MATCH, self.pointer):
            if self.history[self.pointer - 1 - self.match] != self.history[-1 - self.match]:
                break
            self.match += 1

    def relative(self, token: int) -> int:
        """The first token of the same text but for a space in front; -1 for none."""
        text = self.text_V[token] if self.text_V else ""
        wanted = text[1:] if text.startswith(" ") else " " + text
        return next((v for v, other in enumerate(self.text_V) if other == wanted and text.strip(" ")), -1)

    def followers(self, place: int) -> list[int]:
        """The tokens that followed what stands before the next token, by the kind of context in that place."""
        context = self.contexts[place] if place < len(self.contexts) else None
        return [self.history[i] for i in self.places.get(context, [])] if context is not None else []


def agrees(tables: Tables, twin: Twin) -> None:
    """Counts, order of the lists and match are the twin's."""
    for place in range(N_CONTEXTS):
        followers, slot = twin.followers(place), int(tables.slot_O[place])
        assert (slot >= 0) == bool(followers)
        if not followers:
            continue
        assert tables.context_total_S[slot] == len(followers)
        assert tables.context_distinct_S[slot] == len(set(followers))
        listed, node = [], int(tables.context_head_S[slot])
        while node >= 0:
            listed.append((int(tables.node_token_N[node]), int(tables.node_count_N[node])))
            assert followed(tables, slot, listed[-1][0]) == node
            node = int(tables.node_next_N[node])
        assert listed == [(token, followers.count(token)) for token in dict.fromkeys(reversed(followers))]
        assert all(followed(tables, slot, token) < 0 for token in set(range(VOCAB)) - set(followers))
    assert (tables.numbers_5[POINTER], tables.numbers_5[MATCH]) == (twin.pointer, twin.match)
    counts = Counter(twin.history)
    assert tables.count_V.tolist() == [counts[token] for token in range(VOCAB)]
    assert tables.numbers_5[CONTEXTS] == len(twin.places)
    pairs = {(context, twin.history[i]) for context, places in twin.places.items() for i in places}
    assert tables.numbers_5[PAIRS] == len(pairs)


@pytest.mark.parametrize(("text", "text_V"), [("random", TEXTS[:VOCAB]), ("repeats", ())])
def test_the_tables_are_the_dictionaries(text: str, text_V: Sequence[str]) -> None:
    """After each token, also where the tables grow, with the texts of tokens and without."""
    random = np.random.default_rng(3)
    tokens = random.integers(VOCAB, size=300) if text == "random" else np.tile(random.integers(VOCAB, size=90), 4)
    tables, twin = new_tables(VOCAB, 16, read_pieces(text_V, VOCAB)), Twin(text_V)
    for token in tokens:
        tables = with_room(tables, 1)
        absorb(tables, token)
        twin.absorb(int(token))
        agrees(tables, twin)


def test_a_cleared_table_is_a_new_one() -> None:
    """Nothing of the first document is left in the second."""
    tables, twin = new_tables(VOCAB, 64, read_pieces(TEXTS[:VOCAB], VOCAB)), Twin(TEXTS[:VOCAB])
    for token in np.random.default_rng(4).integers(VOCAB, size=64):
        absorb(tables, token)
    clear(tables)
    agrees(tables, twin)
    for token in np.random.default_rng(5).integers(VOCAB, size=60):
        absorb(tables, token)
        twin.absorb(int(token))
    agrees(tables, twin)
