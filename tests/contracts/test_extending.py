"""What docs/extending.md tells a newcomer to write works as it stands there."""

import re
import signal
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from bytecap.auditing import probes
from bytecap.auditing.job import audit_subject
from bytecap.auditing.rules import load_rules
from bytecap.convert import kinds
from bytecap.convert.child import read_tables
from bytecap.convert.kinds.base import ByteLimit
from bytecap.core.errors import DataError, NumericsError, Stopped
from bytecap.core.progress import Silent
from bytecap.export import targets
from bytecap.export.job import export
from bytecap.export.source import ExportSource
from bytecap.export.targets import TARGETS
from bytecap.model import techniques
from bytecap.run import recipe as recipes
from bytecap.scoring import adaptations
from bytecap.text.shards import TokenStream
from bytecap.train import hooks
from bytecap.train.checkpoint import CHECKPOINT, load_checkpoint
from bytecap.train.hooks import HOOKS
from tests.auditing.subjects import make_subject
from tests.auditing.test_rules import test_probes_say_what_they_ask as check_words
from tests.contracts.hooks import check_changes, check_start
from tests.contracts.hooks import check_survives as check_survives_stops
from tests.contracts.techniques import (
    check_causal_and_isolated,
    check_compiles,
    check_live,
    check_roles,
    check_survives,
)
from tests.contracts.test_adaptations import CHECKS
from tests.export.examples import make_file
from tests.train.test_loop import SignalAt, stream, trainer

assert stream  # a fixture
PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")


def find_blocks(title: str) -> list[str]:
    """The indented code of a section."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return [textwrap.dedent(block) for block in re.findall(r"   ```(?:python|toml)\n(.*?)   ```", section, re.DOTALL)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files count as techniques, hooks, adaptations, probes, kinds and targets."""
    scanned = (techniques, hooks, adaptations, probes, kinds, targets)
    for package in scanned:
        package.__path__.append(str(tmp_path))
    yield tmp_path
    for package in scanned:
        package.__path__.remove(str(tmp_path))


@pytest.mark.slow
def test_a_technique(folder: Path) -> None:
    """File, recipe and test of the guide."""
    source, recipe, slow_test = find_blocks("A technique of the model")
    (folder / "value_scale.py").write_text(source)
    for check in (check_live, check_causal_and_isolated, check_roles, check_compiles):
        check("value_scale")
    check_survives("value_scale", folder)
    path = folder / "recipe.toml"
    path.write_text(recipe)
    found = recipes.resolve(str(path), track="laptop", overrides=["model.techniques.value_scale.start=2"])
    assert list(found.model.techniques) == ["unet_skips", "residual_mix", "value_scale"]
    names: dict[str, object] = {}
    exec(compile(slow_test, "test_value_scale.py", "exec"), names)
    names["test_equals_the_slow_formula"]()  # type: ignore[operator]


def test_an_adaptation(folder: Path) -> None:
    """The one of the guide owes what all owe."""
    (source,) = find_blocks("An adaptation")
    (folder / "unigram.py").write_text(source)
    for check in CHECKS:
        check("unigram", folder / check.__name__)


def test_a_rule_of_the_audit(folder: Path) -> None:
    """Probe and rule set of the guide, kept as it stands there and broken where more is asked for."""
    source, rules = find_blocks("A rule of the audit")
    (folder / "long_enough.py").write_text(source)
    check_words("long_enough")
    path = folder / "mine.toml"
    for asked, verdict in (("tokens = 1000", "kept"), ("tokens = 1_000_000", "broken")):
        path.write_text(rules.replace("tokens = 1000", asked))
        report = audit_subject(make_subject(folder), load_rules(str(path)), seed=0, progress=Silent())
        (finding,) = report.findings
        assert finding.rule == "D3" and finding.answer.verdict == verdict


@pytest.mark.slow
def test_a_training_hook(folder: Path, stream: TokenStream) -> None:
    """The hook of the guide, its state through a stop, and the settings that it shows."""
    source, phase, settings = find_blocks("A training hook")
    for name, text in (("largest_weight", source), ("row_start", phase)):
        (folder / f"{name}.py").write_text(text)
        check_survives_stops(name, folder / name, stream)
        check_changes(name, folder / f"{name}_changes", stream)
        check_start(name)
    states = []
    for name, stops in (("straight", [20]), ("stopped", [7, 20])):
        for step in stops:
            with pytest.raises(Stopped):
                config = {"largest_weight": HOOKS.find("largest_weight").config_class()}
                trainer(folder / name, stream, progress=SignalAt(step, signal.SIGTERM), hooks=config).run()
        states.append(load_checkpoint(folder / name / CHECKPOINT).hooks["largest_weight"]["largest"])
    assert states[0] == states[1] > 0
    path = folder / "recipe.toml"
    path.write_text(f'[run]\nbase = "baseline"\n{settings}')
    assert recipes.resolve(str(path), track="laptop").train.exported_weights == "ema"


def test_a_kind_of_checkpoint(folder: Path) -> None:
    """The kind of the guide is found, reads what it should, and asks before it takes memory."""
    (source,) = find_blocks("A kind of checkpoint")
    (folder / "text_matrix.py").write_text(source)
    (folder / "x.matrix").write_text("1 2 3\n4 5 6\n")
    kind, tables = read_tables(folder / "x.matrix")
    assert kind.title == "a matrix as text" and tables["weight"].tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(DataError, match="takes more bytes"):
        kind.read(folder / "x.matrix", ByteLimit(20))
    for damaged in ("", "1 2\n3", "a b"):
        (folder / "x.matrix").write_text(damaged)
        with pytest.raises(DataError, match="cannot be read as a matrix as text"):
            read_tables(folder / "x.matrix")


def test_a_target_of_an_export(folder: Path) -> None:
    """The target of the guide is found, writes what it promises, and its check finds other weights."""
    (source,) = find_blocks("A target of an export")
    (folder / "numpy_archive.py").write_text(source)
    done = export(make_file(), "numpy_archive", folder / "x.npz")
    assert "20 tensors are those of the file, read back with numpy" in done.checked and done.notes == []
    with pytest.raises(NumericsError, match="nothing was written"):
        TARGETS.find("numpy_archive")().check(ExportSource(make_file(seed=1)), folder / "x.npz")
