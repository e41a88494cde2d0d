"""The words of a document behind its tokens: contexts that are alike however the text was cut into tokens; compiled.

In:   the text of each token, the tokens of a document one after the other.
Out:  hashes of what stands before the next token, by words and lines.

A word is a run of letters and digits, case folded; what stands between two is a gap, in which a run of spaces counts as
one. Word contexts are the beginning of the current word (where there is none, the gap); with it the gap before it and
the word before that; with those the word before; the beginning of the word, the gap, and the line's first word (in a
line that has none yet, how far it is indented and the first word of the line before).

Letters: V vocabulary, C characters of all tokens, O contexts.
Source:  the word and indirect contexts of paq8 (mattmahoney.net/dc).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled
from bytecap.core.hashing import mixed

Keys: TypeAlias = npt.NDArray[np.uint64]
Whole: TypeAlias = "int | np.integer[Any]"

WORD_CONTEXTS = 4
NEWLINE, SPACE, LETTER, OTHER = range(4)
"""Kinds of characters, the last two bits of their numbers."""
WORD, GAP, BEFORE, BEFORE_THAT, LINE, LINE_BEFORE, INDENT, AT_START, LAST_KIND = range(9)
"""Places in `state_9`: hashes of the current word, the gap, the last two words, the line's first word and that of the
line before (0: none), spaces that the line begins with, 1 until its first other character, and the last kind plus 1."""


class Pieces(NamedTuple):
    """The texts of all tokens, in one row of characters, and their relatives."""

    char_C: npt.NDArray[np.int32]
    begin_V1: npt.NDArray[np.int32]
    """Characters of token v are those from `begin_V1[v]` to `begin_V1[v + 1]`."""
    relative_V: npt.NDArray[np.int32]
    """The token whose text is the same but for a space in front, or for none; -1: there is none."""


def read_pieces(text_V: Sequence[str], vocab_size: int) -> Pieces:
    """The texts in numbers; tokens beyond them have no text."""
    text_V = text_V[:vocab_size]
    numbers, begins = [], [0]
    first = {text: token for token, text in reversed(list(enumerate(text_V)))}
    relative_V = np.full(vocab_size, -1, np.int32)
    for token in range(vocab_size):
        text = text_V[token] if token < len(text_V) else ""
        if text.strip(" "):
            relative_V[token] = first.get(text[1:] if text[0] == " " else " " + text, -1)
        numbers += [ord(character) * 4 + _kind(character) for character in text.lower()]
        begins.append(len(numbers))
    return Pieces(np.array(numbers, np.int32), np.array(begins, np.int32), relative_V)


def _kind(character: str) -> int:
    if character == "\n":
        return NEWLINE
    if character in " \t":
        return SPACE
    return LETTER if character.isalnum() else OTHER


@compiled()
def clear_words(state_9: Keys) -> None:
    """Before the first character of a document."""
    state_9[:] = 0
    state_9[GAP] = 1
    state_9[AT_START] = 1


@compiled()
def read_token(pieces: Pieces, state_9: Keys, token: Whole) -> None:
    """Take in the characters of the document's next token."""
    for at in range(pieces.begin_V1[token], pieces.begin_V1[token + 1]):
        number = pieces.char_C[at]
        kind = number & 3
        if kind == LETTER:
            state_9[WORD] = mixed(state_9[WORD], np.uint64(number))
            state_9[AT_START] = 0
        else:
            _leave_word(state_9)
            _change_line(state_9, kind)
            if kind != SPACE or state_9[LAST_KIND] != SPACE + 1:
                state_9[GAP] = mixed(state_9[GAP], np.uint64(number))
        state_9[LAST_KIND] = kind + 1


@compiled(inner=True)
def _leave_word(state_9: Keys) -> None:
    if state_9[WORD] == 0:
        return
    if state_9[LINE] == 0:
        state_9[LINE] = state_9[WORD]
    state_9[BEFORE_THAT] = state_9[BEFORE]
    state_9[BEFORE] = state_9[WORD]
    state_9[WORD] = 0
    state_9[GAP] = 1


@compiled(inner=True)
def _change_line(state_9: Keys, kind: Whole) -> None:
    if kind == NEWLINE:
        if state_9[LINE] != 0:
            state_9[LINE_BEFORE] = state_9[LINE]
        state_9[LINE] = 0
        state_9[INDENT] = 0
        state_9[AT_START] = 1
    elif kind == OTHER:
        state_9[AT_START] = 0
    elif state_9[AT_START] != 0:
        state_9[INDENT] += np.uint64(1)


@compiled()
def find_words(state_9: Keys, key_O: Keys) -> None:
    """The hashes of the word contexts, into the first WORD_CONTEXTS places of `key_O`."""
    word, gap = state_9[WORD], state_9[GAP]
    key_O[0] = mixed(np.uint64(0x1001), word if word != 0 else mixed(gap, gap))
    key_O[1] = mixed(mixed(mixed(np.uint64(0x1002), word), gap), state_9[BEFORE])
    key_O[2] = mixed(key_O[1], state_9[BEFORE_THAT])
    line = state_9[LINE] if state_9[LINE] != 0 else mixed(state_9[LINE_BEFORE], state_9[INDENT])
    key_O[3] = mixed(mixed(mixed(np.uint64(0x1003), word), gap), line)
