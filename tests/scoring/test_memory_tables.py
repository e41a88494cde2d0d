"""The tables of a document against dictionaries."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bytecap.scoring.memory_tables import (
    CONTEXTS,
    MATCH,
    MAX_MATCH,
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

VOCAB = 7


class Twin:
    """The same as lists of what followed each context, in the order of the text."""

    def __init__(self) -> None:
        self.history: list[int] = []
        self.followers: dict[tuple[int, ...], list[int]] = {}
        self.last: dict[tuple[int, ...], int] = {}
        self.pointer, self.match = -1, 0

    def absorb(self, token: int) -> None:
        for order in ORDERS:
            if len(self.history) >= order:
                context = tuple(self.history[-order:])
                self.followers.setdefault(context, []).append(token)
                self.last[context] = len(self.history)
        self.history.append(token)
        if self.pointer >= 0 and self.history[self.pointer] == token:
            self.pointer, self.match = self.pointer + 1, self.match + 1
            return
        self.pointer = self.last.get(tuple(self.history[-4:]), -1) if len(self.history) >= 4 else -1
        self.match = 0
        while self.pointer >= 0 and self.match < min(MAX_MATCH, self.pointer):
            if self.history[self.pointer - 1 - self.match] != self.history[-1 - self.match]:
                break
            self.match += 1

    def context(self, order: int) -> list[int]:
        return self.followers.get(tuple(self.history[-order:]), []) if len(self.history) >= order else []


def agrees(tables: Tables, twin: Twin) -> None:
    """Counts, order of the lists and match are the twin's."""
    for place, order in enumerate(ORDERS):
        followers, slot = twin.context(order), int(tables.slot_O[place])
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
    assert tables.numbers_5[CONTEXTS] == len(twin.followers)
    assert tables.numbers_5[PAIRS] == sum(len(set(followers)) for followers in twin.followers.values())


@pytest.mark.parametrize("text", ["random", "repeats"])
def test_the_tables_are_the_dictionaries(text: str) -> None:
    """After each token, also where the tables grow."""
    random = np.random.default_rng(3)
    tokens = random.integers(VOCAB, size=300) if text == "random" else np.tile(random.integers(VOCAB, size=90), 4)
    tables, twin = new_tables(VOCAB, 16), Twin()
    for token in tokens:
        tables = with_room(tables, 1)
        absorb(tables, token)
        twin.absorb(int(token))
        agrees(tables, twin)


def test_a_cleared_table_is_a_new_one() -> None:
    """Nothing of the first document is left in the second."""
    tables, twin = new_tables(VOCAB, 64), Twin()
    for token in np.random.default_rng(4).integers(VOCAB, size=64):
        absorb(tables, token)
    clear(tables)
    agrees(tables, twin)
    for token in np.random.default_rng(5).integers(VOCAB, size=60):
        absorb(tables, token)
        twin.absorb(int(token))
    agrees(tables, twin)
