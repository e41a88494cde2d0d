"""What every training hook owes: its state survives a stop, it changes what it declares, it lies inside the run.

The list is the folder: a hook that is nothing but a file is tested all the same.
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from bytecap.text.shards import TokenStream
from bytecap.train import hooks
from bytecap.train.hooks import HOOKS
from tests.contracts.hooks import check_changes, check_start, check_survives
from tests.train.test_loop import stream

assert stream  # a fixture
NAMES = HOOKS.names()


@pytest.mark.parametrize("name", NAMES)
def test_training_survives_two_stops(name: str, tmp_path: Path, stream: TokenStream) -> None:
    """Two stops."""
    check_survives(name, tmp_path, stream)


@pytest.mark.parametrize("name", NAMES)
def test_a_hook_changes_only_what_it_says(name: str, tmp_path: Path, stream: TokenStream) -> None:
    """What it says, and nothing else."""
    check_changes(name, tmp_path, stream)


@pytest.mark.parametrize("name", NAMES)
def test_starts_outside_training_are_refused(name: str) -> None:
    """Before the beginning or after the end."""
    check_start(name)


HEAD = """
    import torch
    from bytecap.train.hooks.base import TrainingHook

    class Added(TrainingHook):
        steps = 0
        changes = ("weights",)
"""
SILENT = "        pass"
UNDECLARED = """
        def before_step(self, model, progress):
            model.embedding.data.mul_(2)
        def rows(self, rows_BT, progress):
            return rows_BT[:, :-1]
"""
FORGETFUL = """
        def before_step(self, model, progress):
            self.steps += 1
            model.embedding.data.add_(0.01 * self.steps)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files count as hooks."""
    hooks.__path__.append(str(tmp_path))
    yield tmp_path
    hooks.__path__.remove(str(tmp_path))


def test_the_checks_find_faults(folder: Path, stream: TokenStream) -> None:
    """A hook that does nothing, one that changes more than it says, one whose state is lost."""
    for name, body in {"silent_hook": SILENT, "undeclared_hook": UNDECLARED, "forgetful_hook": FORGETFUL}.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(HEAD + body))
    with pytest.raises(AssertionError, match=r"silent_hook changes \[\], and declares \['weights'\]"):
        check_changes("silent_hook", folder / "a", stream)
    with pytest.raises(AssertionError, match=r"changes \['data', 'weights'\], and declares \['weights'\]"):
        check_changes("undeclared_hook", folder / "b", stream)
    with pytest.raises(AssertionError):
        check_survives("forgetful_hook", folder / "c", stream)
