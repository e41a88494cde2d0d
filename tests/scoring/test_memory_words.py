"""Contexts by words against regular expressions over the whole text."""

from __future__ import annotations

import re

import numpy as np

from bytecap.scoring.memory_words import WORD_CONTEXTS, clear_words, find_words, read_pieces, read_token

TEXTS = (
    "", "a", " a", "b", "_", "\n", " ", "\t", "  ", "ab", " Ab", "1", ".\n", "\n  ", "(a", "a)", "é", " é", "=", "__",
    "ba", " ba", "\n\n", ":\n\t", "c", "-", " -", "x", " x", "y", "xy", "'", ", ", "(", ")", "z", "0", "a b", "Q", "q",
)  # fmt: skip
"""The texts of 40 tokens."""


def slow_contexts(text: str) -> list[tuple[str | int | None, ...]]:
    """What the next token is told apart by, from the text so far."""
    word = _found(r"[^\W_]*\Z", text)
    before = text[: len(text) - len(word)]
    words = re.findall(r"[^\W_]+", before)
    gap = re.sub(r"[ \t]+", lambda run: run[0][0], _found(r"[\W_]*\Z", before))
    one, two = (words[-1:] or [None])[0], (words[-2:-1] or [None])[0]
    *lines, line = [re.findall(r"[^\W_]+", part) for part in before.split("\n")]
    indent = len(_found(r"^[ \t]*", before.split("\n")[-1]))
    first = line[:1] or [next((earlier[0] for earlier in reversed(lines) if earlier), None), indent]
    begin = ("word", word) if word else ("gap", gap)
    return [begin, ("one", word, gap, one), ("two", word, gap, one, two), ("line", word, gap, *first)]


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None
    return match.group()


def test_equal_hashes_are_equal_contexts() -> None:
    """At any two places of a text, and nothing is left of the text before."""
    pieces, state_9 = read_pieces(TEXTS, len(TEXTS) + 2), np.zeros(9, np.uint64)
    seen: dict[int, tuple[str | int | None, ...]] = {}
    for seed in range(3):
        clear_words(state_9)
        text = ""
        for token in np.random.default_rng(seed).integers(len(TEXTS) + 2, size=400).tolist():
            key_O = np.zeros(WORD_CONTEXTS, np.uint64)
            read_token(pieces, state_9, token)
            text += TEXTS[token].lower() if token < len(TEXTS) else ""
            find_words(state_9, key_O)
            for key, context in zip(key_O.tolist(), slow_contexts(text), strict=True):
                assert seen.setdefault(key, context) == context
    assert len(seen) == len(set(seen.values()))


def test_related_tokens_with_and_without_a_space() -> None:
    """The same text with a space in front, or without; the first where several have it."""
    relative_V = read_pieces(("", "a", " a", "b", " ", "a"), 8).relative_V.tolist()
    assert relative_V == [-1, 2, 1, -1, -1, 2, -1, -1]
