"""A tokenizer trained here gives every text back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.core.errors import DataError
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokenizer_training import train_tokenizer
from tests.conftest import make_document


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer((make_document(i) for i in range(20)), 300)


def test_ids_are_laid_out_as_in_the_contest(tokenizer: Tokenizer) -> None:
    """PAD 0, BOS 1, EOS 2, UNK 3, then the bytes."""
    pieces = tokenizer.processor
    assert (pieces.pad_id(), tokenizer.bos, pieces.eos_id(), pieces.unk_id()) == (0, 1, 2, 3)
    assert [pieces.id_to_piece(i) for i in (4, 259)] == ["<0x00>", "<0xFF>"]
    assert tokenizer.lossless


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=60)


@given(
    st.one_of(
        TEXT, st.lists(st.sampled_from([" ", "  ", "\n", "\t", "\r\n", "<s>", "<0x0A>", "the", "é"])).map("".join)
    )
)
def test_round_trip(tokenizer: Tokenizer, text: str) -> None:
    """decode(encode(s)) == s for any Unicode text without U+2581."""
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_more_characters_than_pieces() -> None:
    """Many scripts and few pieces: frequent characters get pieces, the others bytes, nothing is lost."""
    text = make_document(1) + " ".join(chr(c) * (1 + c % 7) for c in range(0x4E00, 0x5200))
    tokenizer = train_tokenizer([text], 300)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab_size <= 300
    is_byte = tokenizer.processor.is_byte
    assert any(is_byte(i) for i in tokenizer.encode("\u5000")) and not is_byte(tokenizer.encode("e")[0])


def test_text_without_enough_to_learn_from() -> None:
    """No tokenizer can be learned from nothing."""
    with pytest.raises(
        DataError, match=r"no tokenizer of 300 pieces can be learned from 0 characters of training text; give"
    ):
        train_tokenizer([], 300)
