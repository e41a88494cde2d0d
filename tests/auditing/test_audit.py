"""From Python and from the command line: a run, a file alone, somebody else's model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import bytecap
from bytecap.auditing.subject import Subject
from bytecap.core.digest import digest_bytes
from tests.auditing.subjects import HELD_OUT, TOKENIZER, Counting, make_subject
from tests.runs import call

FEW = """
summary = "two rules"
[rule.B9]
title = "bytes"
probe = "raw_bytes"
[rule.X1]
title = "one file"
probe = "self_contained"
"""


@pytest.mark.slow
def test_a_finished_run_is_clean(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every rule is asked, and none is broken; what is printed as JSON and as a table says the same."""
    assert call("audit", finished, "--json", "--quiet") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["broken"] == [] and found["rules"] == "standard" and found["seed"] == 0
    verdicts = {finding["rule"]: finding["verdict"] for finding in found["findings"]}
    assert "not asked" not in verdicts.values() and verdicts["C1c"] == verdicts["C2a"] == "kept"
    some = tmp_path / "some.toml"
    some.write_text(FEW)
    assert call("audit", finished, "--quiet", "--seed", "4", "--rules", some) == 0
    table = capsys.readouterr().out
    assert "BROKEN" not in table and "0 broken (rules some, seed 4" in table
    assert "\nB9 " in table and "\nX1 " in table


@pytest.mark.slow
def test_rules_of_the_contest_refuse_a_toy(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 6, the broken rule on stderr; the JSON is one document."""
    assert call("audit", finished, "--rules", "parameter_golf_2026", "--json", "--quiet") == 6
    out, err = capsys.readouterr()
    assert json.loads(out)["broken"] == ["D2"] and "D2 broken" in err


@pytest.mark.slow
def test_a_file_alone(finished: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it takes is asked with texts, and said to be missing without; shared documents are found."""
    shutil.copy(finished / "model.bcap", tmp_path)
    report = bytecap.audit(tmp_path / "model.bcap")
    missing = {finding.rule for finding in report.with_verdict("not asked")}
    assert not report.broken and missing == {"A3", "A4", "C2b", "D1a", "D1b", "D2", "B1", "S2", "G4"}
    document = corpus / "document_00.txt"
    words: list[str | Path] = [
        "audit",
        tmp_path / "model.bcap",
        "--text",
        document,
        "--training-text",
        corpus,
        "--json",
        "--quiet",
    ]
    assert call(*words) == 6
    assert json.loads(capsys.readouterr().out)["broken"] == ["D1a", "D1b"]


def test_wrong_arguments_are_refused(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path to nothing, a set of rules that is none, a record that speaks of another file."""
    assert call("audit", tmp_path / "none.bcap") == 3
    assert call("audit", finished, "--rules", "parameter_golf") == 2
    assert "did you mean parameter_golf_2026?" in capsys.readouterr().err
    with pytest.raises(bytecap.DataError, match="does not exist"):
        bytecap.audit(tmp_path / "none.bcap")
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    record = json.loads((run / "record.json").read_text())
    record["artifact"]["digest"] = digest_bytes(b"another file")
    (run / "record.json").write_text(json.dumps(record))
    with pytest.raises(bytecap.DataError, match="is not the file that record"):
        bytecap.audit(run)


def test_somebody_elses_model(tmp_path: Path) -> None:
    """A Subject is all that it takes."""
    report = bytecap.audit(make_subject(tmp_path, Counting), seed=9)
    assert not report.broken and report.seed == 9 and json.dumps(report.to_json())
    assert np.isfinite(report.seconds)
    (tmp_path / "my.txt").write_text(HELD_OUT[0])
    object_alone = bytecap.audit(Counting(), text=tmp_path / "my.txt", tokenizer=TOKENIZER)
    verdicts = {finding.rule: finding.answer.verdict for finding in object_alone.findings}
    assert object_alone.subject == "a Counting" and not object_alone.broken
    assert verdicts["B1"] == verdicts["C1c"] == "kept" and verdicts["A1"] == "not asked"
    with pytest.raises(bytecap.ConfigError, match="give the tokenizer"):
        bytecap.audit(Counting())
    with pytest.raises(bytecap.ConfigError, match="lacks reset"):
        bytecap.audit(object(), tokenizer=TOKENIZER)  # type: ignore[arg-type]


def test_what_cannot_be_audited() -> None:
    """A seed that no generator takes."""
    with pytest.raises(bytecap.ConfigError, match="the seed is -1; it must lie between 0"):
        bytecap.audit(Subject(name="nothing"), seed=-1)
