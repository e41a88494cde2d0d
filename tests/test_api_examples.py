"""The public names are what they say, typed, imported only when asked for; and their examples run."""

from __future__ import annotations

import doctest
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bytecap
from tests.end_to_end.test_old_runs import GOLDEN

pytestmark = pytest.mark.slow

FUNCTIONS = ("audit", "fit", "load", "load_state_dict", "score", "generate", "compare")


@pytest.fixture
def folder(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the small `model.bcap` and the two runs that the examples speak of."""
    shutil.copy(GOLDEN / "model.bcap", tmp_path / "model.bcap")
    for name in ("demo", "other"):
        shutil.copytree(finished, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FUNCTIONS)
def test_examples_of_docstrings_give_what_they_show(name: str, folder: Path) -> None:
    """Each function shows one, and it gives what it shows."""
    torch.manual_seed(0)
    found = doctest.DocTestFinder(recurse=False).find(getattr(bytecap, name), name, globs={})
    assert [len(test.examples) > 1 for test in found] == [True]
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(found[0]).failed == 0


def test_public_names() -> None:
    """All are there, documented, and `dir` says no more."""
    assert set(FUNCTIONS) <= set(bytecap.__all__) == set(dir(bytecap))
    for name in bytecap.__all__:
        value = getattr(bytecap, name)
        assert name == "__version__" or (inspect.getdoc(value) and value.__name__ == name)
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = bytecap.fitt  # type: ignore[attr-defined]
    assert (Path(bytecap.__file__).parent / "py.typed").exists()


def test_importing_is_light() -> None:
    """Errors and version cost no torch; reading a file costs no quantizer."""
    code = (
        "import bytecap, sys; bytecap.ConfigError; "
        "assert not {'torch', 'numpy'} & set(sys.modules); "
        "bytecap.load; assert 'torch' in sys.modules and not {'numba', 'bytecap.quant'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_and_texts_in_every_form(folder: Path) -> None:
    """A path, a word or an opened file; one text, several, or with settings."""
    (folder / "a.txt").write_text("The model reads.\n")
    (folder / "b.txt").write_text("It writes.\n")
    artifact = bytecap.load(folder / "model.bcap")
    whole = bytecap.score(artifact, text=["a.txt", Path("b.txt")], stride=8)
    glob = bytecap.score(folder / "model.bcap", text="*.txt", stride=8)
    settings = bytecap.score("model.bcap", text=bytecap.TextConfig(paths=("a.txt", "b.txt")), stride=8)
    assert whole.nats == glob.nats == settings.nats and whole.text_bytes == 28 and whole.stride == 8
    assert bytecap.generate(artifact, "the", tokens=4) == bytecap.generate("model.bcap", "the", tokens=4)


@pytest.mark.parametrize("text", ["", [], [" "]])
def test_no_text(text: str | list[str], folder: Path) -> None:
    """No path would mean the standard library's sources to a TextConfig; here it is a mistake."""
    with pytest.raises(bytecap.ConfigError, match="text names no file"):
        bytecap.score("model.bcap", text=text)


def test_errors_of_files(folder: Path) -> None:
    """Missing, damaged, a folder."""
    with pytest.raises(bytecap.DataError, match="cannot read"):
        bytecap.score("missing.bcap", text="a.txt")
    with pytest.raises(bytecap.DataError, match="cannot read"):
        bytecap.load(folder)
    (folder / "bad.bcap").write_bytes(b"bcap" + bytes(90))
    with pytest.raises(bytecap.FormatError):
        bytecap.generate("bad.bcap", "the")
