"""The extra is there or one sentence says how to get it; its errors become ours, and its settings stay."""

import sys

import pytest

from bytecap.core.errors import BackendError, ConfigError, DataError
from bytecap.huggingface.library import library_errors, transformers


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to type."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BackendError, match=r"needs the transformers package .*pip install 'bytecap\[hf\]'"):
        transformers()


def test_errors_of_a_library() -> None:
    """Any is one sentence about what was opened; ours pass through; loudness is as before."""
    library = transformers()
    level = library.utils.logging.get_verbosity()
    for raised, kind, said in (
        (KeyError("x"), DataError, "that cannot be opened by transformers 5"),
        (
            ImportError("no sentencepiece\nmore"),
            BackendError,
            "that needs a package that is not here: no sentencepiece;",
        ),
        (ConfigError("ours"), ConfigError, "^ours$"),
    ):
        with pytest.raises(kind, match=said), library_errors(library, "that"):
            raise raised
    assert library.utils.logging.get_verbosity() == level
