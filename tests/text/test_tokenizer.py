"""A tokenizer is one object: its file, what SentencePiece makes of it, and what is known of it."""

from pathlib import Path

import pytest

from bytecap.core.digest import digest_bytes
from bytecap.core.errors import DataError
from bytecap.text.case_transform import MARKS, ONE, RUN
from bytecap.text.tokenizer import CASE_PIECE, Tokenizer
from bytecap.text.tokenizer_training import train_tokenizer
from tests.text.tokenizers import LLAMA, make_tokenizer


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


def test_unusable_tokenizer_files_are_refused(tmp_path: Path) -> None:
    """A file that is not there, one that is no model, and one without a BOS piece."""
    with pytest.raises(DataError, match=r"cannot read tokenizer .*give a SentencePiece \.model file"):
        Tokenizer.read(tmp_path / "missing.model")
    with pytest.raises(DataError, match="some file is not a SentencePiece model"):
        Tokenizer.from_bytes(b"nonsense", origin="some file")
    with pytest.raises(DataError, match="has no BOS piece"):
        make_tokenizer("the cap of a file\n" * 50, bos_id=-1)


def test_a_tokenizer_carries_its_transform(tmp_path: Path) -> None:
    """Written and read, it still writes The as the, and gives The back; others never change a text."""
    text = "The cap of a FILE, the cap of the file\n"
    made = train_tokenizer([text * 50], 300, "case")
    (tmp_path / "some.model").write_bytes(made.model)
    again = Tokenizer.read(tmp_path / "some.model")
    assert again.transform == "case" and again.pieces[0] == CASE_PIECE and again.lossless
    ids = again.encode("The cap of a FILE")
    assert [again.pieces[i] for i in ids if again.pieces[i] in MARKS] == [ONE, RUN]
    assert again.decode(ids) == "The cap of a FILE" and "".join(map(again.piece_text, ids)) == "the cap of a file"
    assert train_tokenizer([text * 50], 300).transform == "none" == make_tokenizer(text * 50).transform
    assert make_tokenizer(text * 50, user_defined_symbols=[CASE_PIECE]).transform == "none"  # a piece of text


def test_a_space_before_every_text_and_marks_go_together() -> None:
    """Llama's way: the space is dropped again, and pieces of a space and a mark mislead nobody."""
    text = f"{ONE}the cap {ONE} of{RUN} the file\n"
    made = make_tokenizer(text * 50, **LLAMA, pad_piece=CASE_PIECE, required_chars="".join(MARKS))
    assert made.transform == "case" and made.drops_first_space
    for text in ("The cap", " The cap", "  OF it", "of The\nCap "):
        assert made.decode(made.encode(text)) == text


def test_transforms_that_cannot_be_undone_are_refused() -> None:
    """One of a newer version, and one without its marks."""
    with pytest.raises(DataError, match="asks for the transform '<transform:title>', and this version knows"):
        make_tokenizer("the cap of a file\n" * 50, pad_piece="<transform:title>")
    with pytest.raises(DataError, match="asks for <transform:case> and has no piece for one of its marks"):
        make_tokenizer("the cap of a file\n" * 50, pad_piece=CASE_PIECE)
