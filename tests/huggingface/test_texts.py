"""Documents to one stream, each token with its bytes."""

import dataclasses

import pytest

from bytecap.core.errors import DataError
from bytecap.huggingface.texts import NO_BOS, tokenize_documents
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from tests.huggingface.models import STRANGE, TEXT, byte_level_bpe, word_piece, wrapped


def test_stream_and_bytes() -> None:
    """Each document behind BOS, whose bytes are none; bytes sum to those of the raw text."""
    documents = [TEXT[0], *STRANGE]
    found = tokenize_documents(documents, HuggingFaceTokenizer(byte_level_bpe()))
    assert found.bytes is not None and not found.lost and found.raw_bytes == len("".join(documents).encode())
    ids, counts = found.tokens.read(0, 10**6), found.bytes.read(0, 10**6)
    assert (ids == found.bos).sum() == len(documents) and counts[ids == found.bos].sum() == 0
    assert counts.sum() == found.raw_bytes == found.validation().check.counted
    with pytest.raises(DataError, match="fewer than two tokens"):
        tokenize_documents([""], HuggingFaceTokenizer(byte_level_bpe()))


def test_no_beginning() -> None:
    """A tokenizer without special tokens makes one document of all."""
    plain = wrapped(byte_level_bpe().backend_tokenizer)
    found = tokenize_documents(TEXT[:2], HuggingFaceTokenizer(plain))
    assert found.bos == NO_BOS and found.bytes is not None
    assert found.bytes.read(0, 10**6).sum() == found.raw_bytes


def test_lost_text() -> None:
    """The first document that is changed is told, and no bytes are given."""
    found = tokenize_documents(["one", TEXT[0]], HuggingFaceTokenizer(word_piece()))
    assert found.bytes is None and "does not come back from the tokenizer" in found.lost and "becomes" in found.lost
    assert dataclasses.replace(found, lost="").validation().check.decoded is None
