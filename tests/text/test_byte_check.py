"""There are no bytes to score by unless the tokens keep the text and the table counts it, to the byte."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytecap.core.errors import DataError
from bytecap.text.byte_check import ByteCheck, check_table
from bytecap.text.byte_counts import ByteTable, build_table
from bytecap.text.shards import ShardWriter, StreamSlice, TokenStream
from bytecap.text.tokenizer import Tokenizer
from tests.conftest import make_document
from tests.text.tokenizers import CONTEST, LLAMA, LOSSLESS, make_tokenizer

TEXTS = [make_document(50), "  starts with spaces\n\tand \u00e9 \u6f22\u5b57\n", "ends with bytes \U0001f600"]
RAW = sum(len(t.encode()) for t in TEXTS)
LEARNED_FROM = "".join(make_document(i) for i in range(20))


def encoded(tokenizer: Tokenizer, folder: Path, texts: list[str]) -> TokenStream:
    writer = ShardWriter(folder, "val", 50)
    for text in texts:
        writer.write([tokenizer.bos, *tokenizer.encode(text)])
    writer.close()
    return TokenStream(writer.paths)


def checked(tokenizer: Tokenizer, folder: Path, texts: list[str], raw: list[str] | None, **about: bool) -> ByteCheck:
    return check_table(build_table(tokenizer), tokenizer, encoded(tokenizer, folder, texts), raw=raw, **about)


@pytest.mark.parametrize("settings", [LOSSLESS, LLAMA], ids=["ours", "Llama"])
def test_sum_is_the_length_of_the_text(settings: dict[str, Any], tmp_path: Path) -> None:
    """Counted, decoded and raw agree, to the byte, and every document comes back."""
    assert checked(make_tokenizer(LEARNED_FROM, **settings), tmp_path, TEXTS, TEXTS) == ByteCheck(RAW, RAW, RAW, 0)


def wrong_tables(right: ByteTable, tokenizer: Tokenizer) -> dict[str, ByteTable]:
    spaces = np.array([piece.startswith("\u2581") for piece in tokenizer.pieces])
    byte = np.array([tokenizer.is_byte(i) for i in range(tokenizer.vocab_size)])
    return {
        "space counted twice": dataclasses.replace(right, bytes_V=right.bytes_V + spaces),
        "byte piece counts three": dataclasses.replace(right, bytes_V=right.bytes_V + 2 * byte),
    }


@pytest.mark.parametrize("mistake", ["space counted twice", "byte piece counts three"])
def test_wrong_tables_are_refused_with_the_worst_tokens(tmp_path: Path, mistake: str) -> None:
    """The mistakes of issue 1719 and PR 1184 of the contest: percent and tokens are named."""
    tokenizer = make_tokenizer(LEARNED_FROM)
    table = wrong_tables(build_table(tokenizer), tokenizer)[mistake]
    with pytest.raises(DataError, match=r"no score is given; worst tokens: '.*' \(id \d+, \+[12] byte") as caught:
        check_table(table, tokenizer, encoded(tokenizer, tmp_path, TEXTS), raw=TEXTS)
    assert caught.value.values["percent"] > 0.1


def test_texts_are_compared_and_not_lengths(tmp_path: Path) -> None:
    """A tokenizer that folds case keeps every length; it must be declared, and then the changed documents are told."""
    tokenizer = make_tokenizer(LEARNED_FROM, normalization_rule_name="nfkc_cf")
    texts = ["the cap", "under The Cap of a file", "a model"]
    with pytest.raises(
        DataError, match=r"document 2 .* from character 6 on, 'under The Cap .*' becomes 'under the cap"
    ):
        checked(tokenizer, tmp_path, texts, texts)
    with pytest.raises(DataError, match=r"say so with --set text\.lossy_tokenizer=true"):
        checked(tokenizer, tmp_path, texts, texts)
    raw = sum(map(len, texts))
    assert checked(tokenizer, tmp_path, texts, texts, lossy_declared=True) == ByteCheck(raw, raw, raw, 1)


def test_other_documents_than_the_raw_ones(tmp_path: Path) -> None:
    """Another text of the same length, one document more, one fewer; one that is empty as tokens is still one."""
    tokenizer = make_tokenizer(LEARNED_FROM)
    with pytest.raises(DataError, match="document 1 does not come back"):
        checked(tokenizer, tmp_path, ["the cap"], ["the map"])
    for raw, found in ((["the"], "more"), (["the", "cap", "file"], "fewer")):
        with pytest.raises(DataError, match=f"hold {found} documents than the raw"):
            checked(tokenizer, tmp_path, ["the", "cap"], raw)
    lossy = make_tokenizer(LEARNED_FROM, **CONTEST)
    assert checked(lossy, tmp_path, [" ", "the", " "], [" ", "the", " "], lossy_declared=True) == ByteCheck(3, 3, 5, 2)


def test_a_character_without_a_piece_is_named(tmp_path: Path) -> None:
    """Without byte pieces what has no piece becomes <unk>: the character is named, and nothing is scored."""
    tokenizer = make_tokenizer(LEARNED_FROM, byte_fallback=False)
    with pytest.raises(DataError, match="because the tokenizer has no piece for '\u6f22' and no pieces for bytes"):
        checked(tokenizer, tmp_path, ["the \u6f22\u5b57"], ["the \u6f22\u5b57"])
    with pytest.raises(DataError, match="tokens hold '<unk>', the piece for what"):
        checked(tokenizer, tmp_path, ["the \u6f22\u5b57"], None)


def test_no_tokenizer_makes_the_text_longer(tmp_path: Path) -> None:
    """Declared or not: more bytes than the text has would flatter the score."""
    tokenizer = make_tokenizer(LEARNED_FROM, **CONTEST)
    with pytest.raises(DataError, match=r"stand for 5 bytes but the raw .* only 2 .*makes the text longer"):
        checked(tokenizer, tmp_path, ["\u00bd"], ["\u00bd"], lossy_declared=True)


@pytest.mark.parametrize("settings", [LOSSLESS, LLAMA, CONTEST], ids=["ours", "Llama", "contest"])
def test_streams_cut_anywhere_are_counted(settings: dict[str, Any], tmp_path: Path) -> None:
    """Two hundred random cuts, inside documents and inside characters: each has its share of the whole's bytes."""
    tokenizer = make_tokenizer(LEARNED_FROM, **settings)
    stream, table = encoded(tokenizer, tmp_path, TEXTS), build_table(tokenizer)
    ids = stream.read(0, len(stream)).tolist()
    each = [slow_bytes(tokenizer, ids, at) for at in range(len(ids))]
    rng = random.Random(0)
    for _ in range(200):
        begin, end = sorted(rng.sample(range(len(ids) + 1), 2))
        cut = StreamSlice(stream, begin, max(end, begin + 2))
        if len(ids) - begin >= 2:
            counted = sum(each[begin + 1 : begin + len(cut)])
            assert check_table(table, tokenizer, cut, raw=None) == ByteCheck(counted, counted, None, None)


def slow_bytes(tokenizer: Tokenizer, ids: list[int], at: int) -> int:
    """Bytes that one token adds to the text of its document, read from the document's beginning; byte pieces one."""
    if tokenizer.is_special(ids[at]):
        return 0
    if tokenizer.is_byte(ids[at]):
        return 1
    begin = max(i for i in range(at) if ids[i] == tokenizer.bos) + 1
    shorter, longer = (tokenizer.decode(ids[begin:end]) for end in (at, at + 1))
    return len(longer.encode()) - len(shorter.encode())
