"""Runs as a comparison reads them: numbers, documents, folders of several seeds."""

import json
from pathlib import Path

import pytest

from bytecap.core.errors import DataError
from bytecap.run.compared_runs import changed_settings, describe_hardware, read_runs
from tests.runs import vary


def test_numbers_of_a_run(finished: Path) -> None:
    """They are those of its record, and its documents sum to its score."""
    (run,) = read_runs([finished], "RUN")
    record = json.loads((finished / "record.json").read_text())
    after = record["scores"]["after"]
    assert run.bits_per_byte == after["bits_per_byte"] and run.seed == 0
    assert run.nats_per_token == after["nats"] / after["tokens"]
    assert run.documents is not None and run.documents["nats"].sum() == pytest.approx(after["nats"], abs=1e-3)
    assert run.documents["bytes"].sum() == after["text_bytes"] and run.documents["tokens"].sum() == after["tokens"]
    row = run.to_json()
    assert row["step_milliseconds"] == pytest.approx(1000 * record["seconds"]["train"] / 40)
    assert row["hardware"] == describe_hardware(record["hardware"]) and "processes" not in row["hardware"]
    assert "2 processes" in describe_hardware({**record["hardware"], "processes": 2})


def test_folders_of_seeds(finished: Path, tmp_path: Path) -> None:
    """One stands for its runs in the order of their seeds; an unfinished one is not there yet."""
    for seed in (10, 2, 0):
        vary(finished, tmp_path / f"seed-{seed}", seed=seed, nats=float(seed))
    (tmp_path / "seed-3").mkdir()
    runs = read_runs([tmp_path], "RUN")
    assert [run.seed for run in runs] == [0, 2, 10]
    assert changed_settings(runs[0], runs[1]) == ["run.seed"]
    assert read_runs([tmp_path / "seed-2" / "record.json"], "RUN")[0].documents is not None
    with pytest.raises(DataError, match="does not exist"):
        read_runs([tmp_path / "seed-3"], "RUN")


def test_what_nothing_compares_with(finished: Path, tmp_path: Path) -> None:
    """A file that is no record is not said to be deleted; a score that is no number has no verdict."""
    with pytest.raises(DataError, match=r"model\.bcap is no record; give the folder of a finished run"):
        read_runs([finished / "model.bcap"], "runs")
    record = json.loads((finished / "record.json").read_text())
    record["scores"]["after"]["bits_per_byte"] = float("nan")
    (tmp_path / "record.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"is nan bits per byte over .* which nothing compares with"):
        read_runs([tmp_path], "runs")
    del record["scores"]
    (tmp_path / "record.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"record\.json has no 'scores', which a record has; delete it and run"):
        read_runs([tmp_path], "runs")
