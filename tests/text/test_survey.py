"""A corpus without a document for training, or for the tokenizer, is told as what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bytecap.core.errors import DataError
from bytecap.core.progress import Silent
from bytecap.text.prepare import prepare
from tests.text.test_prepare import config
from tests.text.tokenizers import make_tokenizer


@pytest.mark.parametrize("given", [True, False])
def test_a_text_that_repeats_itself_leaves_nothing_for_training(tmp_path: Path, given: bool) -> None:
    """Each different document is held out, which is told in the same words with and without a tokenizer."""
    (tmp_path / "t.model").write_bytes(make_tokenizer("one two three").model)
    (tmp_path / "a.jsonl").write_text('"one"\n"two"\n' * 9)
    with pytest.raises(DataError, match="no document is left for training: each different document of this text is"):
        tokenizer = str(tmp_path / "t.model") if given else None
        prepare(config(tmp_path / "a.jsonl", tokenizer=tokenizer), tmp_path / "out", Silent())


def test_a_sample_without_a_document_names_its_size(corpus: Path, tmp_path: Path) -> None:
    """Not the characters that the tokenizer did not get."""
    with pytest.raises(DataError, match=r"training documents is in the sample .*sample_bytes, which is 1"):
        prepare(config(corpus, tokenizer_sample_bytes=1), tmp_path, Silent())
