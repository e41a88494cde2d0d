"""Bytes of tokens are those of the contest's rule, and add up to the text."""

import dataclasses

import numpy as np
import pytest

from bytecap.text.byte_counts import build_table
from bytecap.text.case_transform import MARKS
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokenizer_training import train_tokenizer
from tests.conftest import make_document
from tests.text.test_case_transform import ODDITIES
from tests.text.tokenizers import LLAMA, make_tokenizer

TEXT = "".join(make_document(i) for i in range(20))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return make_tokenizer(TEXT)


def slow_count(tokenizer: Tokenizer, previous: int, token: int) -> int:
    """The contest's rule, word by word, for one target."""
    pieces = tokenizer.processor
    if pieces.is_control(token) or pieces.is_unknown(token) or pieces.is_unused(token):
        return 0
    if pieces.is_byte(token):
        return 1
    piece = pieces.id_to_piece(token)
    boundary = pieces.is_control(previous) or pieces.is_unknown(previous) or pieces.is_unused(previous)
    space = piece.startswith("\u2581")
    return len(piece.removeprefix("\u2581").encode()) + (1 if space and not boundary else 0)


def test_table_is_the_contest_rule(tokenizer: Tokenizer) -> None:
    """For every pair of a boundary or plain previous token and any target without an inner space mark."""
    table = dataclasses.replace(build_table(tokenizer, vocab_size=320), drops_first_space=True)
    targets = [i for i in range(300) if "\u2581" not in tokenizer.pieces[i][1:]]
    for previous in (1, 3, 270):
        counted = table.count(np.full(len(targets), previous), np.array(targets))
        assert counted.tolist() == [slow_count(tokenizer, previous, t) for t in targets]
    assert table.count(np.array([5]), np.array([310])).tolist() == [0]


@pytest.mark.parametrize("settings", [{}, LLAMA], ids=["ours", "Llama"])
@pytest.mark.parametrize("text", ["the cap", " the cap", "  the", "\n the", "\u00e9 the", "  "])
def test_a_first_space_counts_where_it_is_one_of_the_text(settings: dict[str, object], text: str) -> None:
    """A space that the tokenizer put before the text stands for nothing, a space of the text for one byte."""
    tokenizer = make_tokenizer(TEXT, **settings)
    ids = np.array([tokenizer.bos, *tokenizer.encode(text)])
    assert int(build_table(tokenizer).count(ids[:-1], ids[1:]).sum()) == len(text.encode())


@pytest.fixture(scope="module")
def without_case() -> Tokenizer:
    return train_tokenizer([TEXT.title(), TEXT, TEXT.upper()], 400, "case")


@pytest.mark.parametrize("text", [text for text in ODDITIES if text and "\ud800" not in text])
def test_marks_count_nothing(without_case: Tokenizer, text: str) -> None:
    """A document's pieces have together the bytes of its original text; marks have none."""
    tokenizer, table = without_case, build_table(without_case)
    ids = np.array([tokenizer.bos, *tokenizer.encode(text)])
    assert tokenizer.decode(ids[1:].tolist()) == text
    assert int(table.count(ids[:-1], ids[1:]).sum()) == len(text.encode())
    assert {int(table.bytes_V[tokenizer.pieces.index(mark)]) for mark in MARKS} == {0}
