"""Bytes of tokens add up to the bytes of the text, and a table that does not is refused by name."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bytecap.core.errors import DataError
from bytecap.text.byte_counts import ByteTable, build_table, check_table
from bytecap.text.shards import ShardWriter, TokenStream
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokenizer_training import train_tokenizer
from tests.conftest import make_document

TEXTS = [make_document(50), "  starts with spaces\n\tand é 漢字\n", "ends with bytes \U0001f600"]
RAW = sum(len(t.encode()) for t in TEXTS)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer((make_document(i) for i in range(20)), 300)


@pytest.fixture
def stream(tokenizer: Tokenizer, tmp_path: Path) -> TokenStream:
    writer = ShardWriter(tmp_path, "val", 50)
    for text in TEXTS:
        writer.write([tokenizer.bos, *tokenizer.encode(text)])
    writer.close()
    return TokenStream(writer.paths)


def test_sum_is_the_length_of_the_text(tokenizer: Tokenizer, stream: TokenStream) -> None:
    """Counted, decoded and raw agree, to the byte."""
    check = check_table(build_table(tokenizer), tokenizer, stream, raw_bytes=RAW)
    assert (check.counted, check.decoded, check.raw) == (RAW, RAW, RAW)


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
    table = dataclasses.replace(build_table(tokenizer, vocab_size=320), lossless=False)
    targets = [i for i in range(300) if "\u2581" not in tokenizer.processor.id_to_piece(i)[1:]]
    for previous in (1, 3, 270):
        counted = table.count(np.full(len(targets), previous), np.array(targets))
        assert counted.tolist() == [slow_count(tokenizer, previous, t) for t in targets]
    assert table.count(np.array([5]), np.array([310])).tolist() == [0]


def wrong_tables(right: ByteTable, tokenizer: Tokenizer) -> dict[str, ByteTable]:
    pieces, size = tokenizer.processor, tokenizer.vocab_size
    spaces = np.array([pieces.id_to_piece(i).startswith("\u2581") for i in range(size)])
    byte = np.array([pieces.is_byte(i) for i in range(size)])
    return {
        "space counted twice": dataclasses.replace(right, bytes_V=right.bytes_V + spaces),
        "byte piece counts three": dataclasses.replace(right, bytes_V=right.bytes_V + 2 * byte),
    }


@pytest.mark.parametrize("mistake", ["space counted twice", "byte piece counts three"])
def test_wrong_tables_are_refused_with_the_worst_tokens(
    tokenizer: Tokenizer, stream: TokenStream, mistake: str
) -> None:
    """The mistakes of issue 1719 and PR 1184 of the contest: percent and tokens are named."""
    table = wrong_tables(build_table(tokenizer), tokenizer)[mistake]
    with pytest.raises(DataError, match=r"no score is given; worst tokens: '.*' \(id \d+, \+[12] byte") as caught:
        check_table(table, tokenizer, stream, raw_bytes=RAW)
    assert caught.value.values["percent"] > 0.1


def test_changed_text_is_refused_unless_declared(tokenizer: Tokenizer, stream: TokenStream) -> None:
    """Tokens that stand for other text than the raw one need the declaration; then the difference is reported."""
    table = build_table(tokenizer)
    with pytest.raises(DataError, match=r"raw validation text has .*lossy_tokenizer=true"):
        check_table(table, tokenizer, stream, raw_bytes=RAW + 7)
    check = check_table(table, tokenizer, stream, raw_bytes=RAW + 7, lossy_declared=True)
    assert check.raw is not None and check.raw - check.counted == 7
