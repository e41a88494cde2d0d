"""A file's tokenizer is the one in it, another only where it has none, and never one that does not fit."""

import dataclasses

import pytest

from bytecap.artifact.load import loads
from bytecap.artifact.tokenizer import artifact_tokenizer
from bytecap.core.errors import DataError, FormatError
from bytecap.text.tokenizer import Tokenizer
from tests.artifact.example import example_file, example_tokenizer
from tests.conftest import make_document
from tests.text.tokenizers import make_tokenizer


def test_the_files_own_goes_first() -> None:
    """Embedded it is used, whatever else is given; elsewhere the other one is."""
    other = Tokenizer.from_bytes(example_tokenizer())
    without = dataclasses.replace(loads(example_file(embed=False)), made_from={"tokenizer": other.digest})
    assert artifact_tokenizer(without, other) is other
    assert artifact_tokenizer(loads(example_file())).model == example_tokenizer()
    assert artifact_tokenizer(loads(example_file()), other).model == example_tokenizer()


def test_unusable_tokenizers_are_refused() -> None:
    """No tokenizer at all, one of another size, and weights without a model."""
    without = loads(example_file(embed=False))
    with pytest.raises(DataError, match="no tokenizer in it; use the run folder"):
        artifact_tokenizer(without)
    smaller = make_tokenizer("another text\n" * 50, vocab_size=280)
    with pytest.raises(FormatError, match=r"vocabulary of 300, its tokenizer 2\d\d pieces"):
        artifact_tokenizer(without, smaller)
    with pytest.raises(DataError, match=r"weights without a model; read them with bytecap\.load_state_dict"):
        artifact_tokenizer(dataclasses.replace(without, spec=None), smaller)


@pytest.mark.parametrize(("embed", "said"), [(True, "has a tokenizer of its own"), (False, "was made with a token")])
def test_another_tokenizer_is_refused(embed: bool, said: str) -> None:
    """Also of the same size, whose pieces mean something else: no score may be of it, and none silently without it."""
    other = make_tokenizer("".join(make_document(seed) for seed in range(20)), vocab_size=300)
    file = loads(example_file(embed=embed))
    made_from = {**file.made_from, "tokenizer": Tokenizer.from_bytes(example_tokenizer()).digest}
    with pytest.raises(DataError, match=f"the file {said}.* of digest {made_from['tokenizer']}, and another one was"):
        artifact_tokenizer(dataclasses.replace(file, made_from=made_from), other)
    assert embed or artifact_tokenizer(dataclasses.replace(file, made_from={}), other) is other


def test_a_tokenizer_that_is_none() -> None:
    """What lies in the file is no model, or has a piece that is not UTF-8: the file is damaged."""
    artifact = loads(example_file())
    with pytest.raises(FormatError, match="the tokenizer in the file is not a SentencePiece model"):
        artifact_tokenizer(dataclasses.replace(artifact, tokenizer=b"nonsense"))
    forged = example_tokenizer().replace(b"\n\x05<pad>", b"\n\x10<transform:case>")
    forged = b"\n" + bytes([forged[1] + 11]) + forged[2:]
    with pytest.raises(FormatError, match="tokenizer in the file asks for <transform:case> and has no piece for one"):
        artifact_tokenizer(dataclasses.replace(artifact, tokenizer=forged))
    piece = example_tokenizer().replace(b"<unk>", b"<u\xffk>")
    with pytest.raises(FormatError, match="piece 3 of the tokenizer in the file is not UTF-8"):
        artifact_tokenizer(dataclasses.replace(artifact, tokenizer=piece))
