"""Several processes do every stage of a run and give what one process gives."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from bytecap.quant.calibration_file import load_calibration
from bytecap.scoring.past import STREAMING
from bytecap.train.loop import METRICS
from tests.processes import CALIBRATIONS, adapted, measured, scored, torchrun
from tests.runs import arguments, call

pytestmark = pytest.mark.slow


def test_score_and_curvature_are_those_of_one_process(tmp_path: Path) -> None:
    """The score to the last bit, the curvature to float tolerance; also with fewer batches than processes."""
    alone = scored(tmp_path)
    done = torchrun(2, "tests.processes", "evaluated", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "score.json").read_text())
    assert dataclasses.replace(alone, seconds=0.0).to_json() == {**found, "seconds": 0.0}
    assert json.loads((tmp_path / "adapted.json").read_text()) == adapted(tmp_path).nats
    assert json.loads((tmp_path / "streamed.json").read_text()) == scored(tmp_path, STREAMING).nats
    for index, tokens in enumerate(CALIBRATIONS):
        one, several = measured(tmp_path, tokens), load_calibration(tmp_path / f"{index}.safetensors", "c0ffee")
        assert several.tokens == one.tokens
        assert (several.loss, several.unigram) == pytest.approx((one.loss, one.unigram), rel=1e-6)
        assert several.vectors == pytest.approx(one.vectors, rel=1e-4)
        assert several.tensors.keys() == one.tensors.keys()
        for name, curvature in one.tensors.items():
            other = several.tensors[name]
            for key in ("inputs_II", "outputs"):
                wanted = getattr(curvature, key)
                np.testing.assert_allclose(getattr(other, key), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
            assert other.gradient_square == pytest.approx(curvature.gradient_square, rel=1e-4)


def test_a_whole_run(corpus: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text in, record out, by two processes: losses and scores of one, printed once; then one process goes on."""
    out = tmp_path / "run"
    done = torchrun(2, "bytecap", *arguments(corpus, out), "--json")
    assert done.returncode == 0, done.stderr
    record, reference = json.loads(done.stdout), json.loads((finished / "record.json").read_text())
    assert record["hardware"]["processes"] == 2 and reference["hardware"]["processes"] == 1
    assert done.stderr.count("train    done") == 1 and not list(out.glob(".*.tmp"))
    losses = [
        [json.loads(row)["loss"] for row in (path / METRICS).read_text().splitlines()] for path in (out, finished)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    for name in ("before", "after"):
        assert record["scores"][name]["bits_per_byte"] == pytest.approx(
            reference["scores"][name]["bits_per_byte"], rel=1e-3
        )
    capsys.readouterr()
    assert call("score", out, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["nats"] == record["scores"]["after"]["nats"]


def test_what_all_find_is_said_once(corpus: Path, tmp_path: Path) -> None:
    """A refusal is one sentence of rank 0, before anything is written."""
    done = torchrun(2, "bytecap", *arguments(corpus, tmp_path / "run", **{"train.batch": 5}))
    said = [line for line in done.stderr.splitlines() if line.startswith("bytecap:")]
    assert done.returncode != 0 and not (tmp_path / "run").exists()
    assert len(said) == 1 and "train.batch is 5 and torchrun has started 2 processes (WORLD_SIZE)" in said[0]


def test_half_set_variables(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is written."""
    monkeypatch.setenv("RANK", "0")
    assert call(*arguments(corpus, tmp_path / "run")) == 2 and not (tmp_path / "run").exists()
