"""Bytes of each token, against what decoding adds token by token."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from bytecap.core.errors import DataError
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer, has_tokenizer, refuse_vocabulary
from tests.huggingface.models import STRANGE, TEXT, byte_level_bpe, llama_like, meta_space, word_piece


def slow_lengths(made: Any, text: str, ids: list[int]) -> list[int | None]:
    """Bytes of the text that the first so many tokens stand for; None inside a character."""
    lengths: list[int | None] = []
    for end in range(1, len(ids) + 1):
        found = made.decode(ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        lengths.append(len(found.encode()) if text.startswith(found) and "\ufffd" not in found else None)
    return lengths


@pytest.mark.parametrize("make", [byte_level_bpe, llama_like])
@pytest.mark.parametrize("text", [*TEXT[:2], *STRANGE])
def test_bytes_of_each_token(make: Any, text: str) -> None:
    """They sum to the text's; up to whole characters they are what decoding adds."""
    made = make()
    tokenizer = HuggingFaceTokenizer(made)
    ids = tokenizer.encode(text)
    counts = tokenizer.count_bytes(text, ids)
    assert counts is not None and sum(counts) == len(text.encode()) and min(counts, default=0) >= 0
    for fast, slow in zip(itertools.accumulate(counts), slow_lengths(made, text, ids), strict=True):
        assert slow in (None, fast)


def test_spelled_bytes() -> None:
    """Parts of a character have a byte each, and the added space before a text has none."""
    tokenizer = HuggingFaceTokenizer(byte_level_bpe())
    assert tokenizer.count_bytes("é", tokenizer.encode("é")) == [1, 1]
    llama = HuggingFaceTokenizer(llama_like())
    assert llama.count_bytes("é", llama.encode("é")) == [0, 1, 1]
    assert llama.bos == 1 and tokenizer.bos == 0


def test_spaces_before_a_text() -> None:
    """Where encoding adds no space to some and decoding drops one of them, what ids tell is known all the same."""
    tokenizer = HuggingFaceTokenizer(meta_space())
    for text, told in (("the", True), ("  the", True), ("    the ", True), (" the", False)):
        ids = tokenizer.encode(text)
        counts = tokenizer.count_bytes(text, ids)
        assert (tokenizer.decode(ids) == text) == (text[0] != " ")
        assert (counts is not None) == told and (counts is None or sum(counts) == len(text))


def test_word_piece() -> None:
    """A text that comes back has its spaces with the words behind them; one that does not has no bytes."""
    tokenizer = HuggingFaceTokenizer(word_piece())
    words = " ".join(TEXT[0].split()[:6])
    ids = tokenizer.encode(words)
    counts = tokenizer.count_bytes(words, ids)
    assert counts is not None and sum(counts) == len(words.encode()) and 0 not in counts
    for lost in (TEXT[0], words + "\n", "two  spaces", "日本"):
        assert tokenizer.count_bytes(lost, tokenizer.encode(lost)) is None


def test_other_vocabulary() -> None:
    """Ids that the model does not know; what no folder is read from."""
    tokenizer = HuggingFaceTokenizer(byte_level_bpe())
    assert tokenizer.size == 290
    refuse_vocabulary(tokenizer, 290, "X")
    with pytest.raises(DataError, match="ids up to 289, X a vocabulary of 200"):
        refuse_vocabulary(tokenizer, 200, "X")
    refuse_vocabulary(tokenizer, 1300, "X")
    with pytest.raises(DataError, match="290 ids, X a vocabulary of 1,400, more than twice"):
        refuse_vocabulary(tokenizer, 1400, "X")
    assert has_tokenizer({"tokenizer.json"}) and not has_tokenizer({"config.json"})


def test_not_a_tokenizer(tmp_path: Path) -> None:
    """One sentence that names the folder."""
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="the tokenizer of that cannot be opened by transformers"):
        HuggingFaceTokenizer.read(tmp_path, "that")
