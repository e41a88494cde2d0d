"""What every target of an export owes: it writes at least one of the examples, and its check finds other weights.

The list is the folder: a target that is nothing but a file is tested all the same.
"""

from pathlib import Path

import pytest

from bytecap.artifact.load import loads
from bytecap.commands.export import To
from bytecap.core.errors import ConfigError, NumericsError
from bytecap.export.source import ExportSource
from bytecap.export.targets import TARGETS, hf
from tests.artifact.example import example_file
from tests.export.examples import make_file, written
from tests.export.opened_here import open_here


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a folder in a process of its own takes seconds, and has tests of its own."""
    monkeypatch.setattr(hf, "open_in_clean_process", open_here)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS.names())
def test_every_target(name: str) -> None:
    """What it writes is what the file holds, and not what another one holds; suffix and extra are as they should."""
    target = TARGETS.find(name)()
    assert target.makes and (not target.suffix or target.suffix.startswith("."))
    assert bool(target.libraries) == bool(target.extra) and name in str(To), "name it in commands/export.py"
    (source, place, notes), other = written(name), ExportSource(make_file(seed=1))
    assert place.is_file() == bool(target.suffix) and all(note and note[-1] not in ".\n" for note in notes)
    assert target.check(source, place)
    with pytest.raises(NumericsError, match="nothing was written"):
        target.check(other, place)


@pytest.mark.parametrize("name", TARGETS.names())
def test_refusals_write_nothing(name: str, tmp_path: Path) -> None:
    """A file of weights alone is taken, or refused before anything lies there."""
    target, place = TARGETS.find(name)(), tmp_path / "x"
    try:
        target.write(ExportSource(loads(example_file(spec=None))), place)
    except ConfigError as error:
        assert "--to" in str(error) and not place.exists()
