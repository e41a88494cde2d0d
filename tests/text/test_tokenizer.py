"""A tokenizer is one object: its file, what SentencePiece makes of it, and what is known of it."""

from pathlib import Path

import pytest

from bytecap.core.digest import digest_bytes
from bytecap.core.errors import DataError
from bytecap.text.tokenizer import Tokenizer
from tests.text.tokenizers import make_tokenizer


def test_file_and_object_belong_together(tmp_path: Path) -> None:
    """Read from a file or from its bytes, it encodes the same and has the file's digest."""
    first = make_tokenizer("the cap of a file\n" * 50)
    path = tmp_path / "some.model"
    path.write_bytes(first.model)
    again = Tokenizer.read(path)
    assert again.model == first.model and again.digest == digest_bytes(path.read_bytes())
    assert (again.bos, again.vocab_size) == (1, again.processor.get_piece_size())
    assert again.encode("a cap\n") == first.encode("a cap\n") and again.decode(again.encode("a cap\n")) == "a cap\n"


def test_lossless_is_measured() -> None:
    """Identity normalisation without a dummy prefix gives every text back; the default normaliser does not."""
    text = "the cap of a file\n" * 50
    assert make_tokenizer(text).lossless
    assert not make_tokenizer(text, normalization_rule_name="nmt_nfkc").lossless


def test_refusals(tmp_path: Path) -> None:
    """A file that is not there, one that is no model, and one without a BOS piece."""
    with pytest.raises(DataError, match=r"cannot read tokenizer .*give a SentencePiece \.model file"):
        Tokenizer.read(tmp_path / "missing.model")
    with pytest.raises(DataError, match="some file is not a SentencePiece model"):
        Tokenizer.from_bytes(b"nonsense", origin="some file")
    with pytest.raises(DataError, match="has no BOS piece"):
        make_tokenizer("the cap of a file\n" * 50, bos_id=-1)
