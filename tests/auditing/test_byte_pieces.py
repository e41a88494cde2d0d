"""Each piece counts what it adds to a text: for tokenizers of every kind, and what a wrong table counts is named."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bytecap.auditing.byte_pieces import wrong_pieces
from bytecap.auditing.subject import ByteCounter
from bytecap.text.byte_counts import build_table
from tests.conftest import make_document
from tests.text.tokenizers import CONTEST, LLAMA, LOSSLESS, make_tokenizer

TEXT = make_document(0) + " Größe 東京 naïve ▫ \n"


@pytest.mark.parametrize("settings", [LOSSLESS, LLAMA, CONTEST], ids=["lossless", "llama", "contest"])
def test_tables_of_ours_are_right(settings: dict[str, Any]) -> None:
    """All pieces, with and without a leading space."""
    tokenizer = make_tokenizer(TEXT, **{**settings, "vocab_size": 330})
    asked, wrong = wrong_pieces(ByteCounter(tokenizer=tokenizer, table=build_table(tokenizer)), lambda piece: True)
    assert asked > tokenizer.vocab_size - 10 and not wrong


def test_wrong_ones_are_named() -> None:
    """The piece, its id, what is counted and what is true."""
    tokenizer = make_tokenizer(TEXT, **LOSSLESS)
    table = build_table(tokenizer)
    table.bytes_V[260] += 1
    counter = ByteCounter(tokenizer=tokenizer, table=dataclasses.replace(table))
    _, wrong = wrong_pieces(counter, lambda piece: True)
    assert wrong and {piece.token for piece in wrong} == {260} and "(id 260)" in wrong[0].shown()
