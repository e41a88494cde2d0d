"""Figures that do not follow from each other are told; those that this program wrote always do."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from bytecap.core.errors import DataError
from bytecap.run.claims import claim_contradictions
from bytecap.run.compare import compare
from tests.runs import call, vary

GOLDEN = Path(__file__).parents[1] / "golden" / "run_0_1"


def changed(value: Any, path: str, new: Any) -> Any:
    """A copy with another value at a dotted path."""
    result = copy.deepcopy(value)
    *parents, last = path.split(".")
    table = result
    for parent in parents:
        table = table[parent]
    table[int(last) if isinstance(table, list) else last] = new
    return result


def read(folder: Path) -> tuple[Any, Any]:
    """Record and score of a run."""
    record, score = ((folder / name).read_text() for name in ("record.json", "score.json"))
    return json.loads(record), json.loads(score)


def test_honest_figures_agree(finished: Path) -> None:
    """Of this version and of the first, with and without the scores beside the record."""
    for folder in (finished, GOLDEN):
        assert claim_contradictions(read(folder)[0], folder / "score.json") == []
        assert claim_contradictions(read(folder)[0], folder / "none.json") == []


@pytest.mark.parametrize(
    ("file", "path", "new", "said"),
    [
        ("record", "scores.after.bits_per_byte", 1.0, "after is given as 1.000000 bits per byte, and its nats over"),
        ("record", "scores.before.nats", 7.0, "before is given as"),
        ("record", "scores.after.tokens", 7, "tokens of after is 7 in the record and"),
        ("record", "scores.after", {}, "'after' has no 'bits_per_byte'"),
        ("record", "corpus.validation_bytes", 7, "corpus.validation_bytes is 7"),
        ("record", "artifact.bytes", 17, "artifact.unused_bytes is"),
        ("score", "scores.after_plain.text_bytes", 7, "after_plain is given as"),
        ("score", "documents.nats.after.0", 0.0, "nats of after is"),
        ("score", "documents.bytes.0", 99_999, "text_bytes of "),
        ("score", "documents.nats", [], "'nats' is of type list"),
    ],
)
def test_a_changed_figure_is_told(finished: Path, tmp_path: Path, file: str, path: str, new: Any, said: str) -> None:
    """In a record or beside it; a score of another file says nothing of this one."""
    record, score = read(finished)
    record, score = (changed(record, path, new), score) if file == "record" else (record, changed(score, path, new))
    (tmp_path / "score.json").write_text(json.dumps(score))
    found = claim_contradictions(record, tmp_path / "score.json")
    assert said in found[0], found
    (tmp_path / "score.json").write_text(json.dumps({**score, "artifact": "another"}))
    assert file == "record" or claim_contradictions(record, tmp_path / "score.json") == []


def test_nobody_takes_them(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A comparison refuses the run; the same `bytecap run` makes its record again."""
    false = vary(finished, tmp_path / "false", seed=1)
    record, _ = read(false)
    (false / "record.json").write_text(json.dumps(changed(record, "scores.after.bits_per_byte", 1.0)))
    with pytest.raises(DataError, match=r"contradicts itself or score.json beside it: after is given as 1.000000 bits"):
        compare([false], [finished])
    assert call("compare", false, "--against", finished) == 3
    assert "Run the same `bytecap run` again, which makes it anew" in capsys.readouterr().err
