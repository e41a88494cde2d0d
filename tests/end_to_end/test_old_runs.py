"""Run folders of older versions open, score, fit and go on: `tests/golden/run_0_1` is one of version 0.1.0.

It was made by `bytecap run --text text` with `SETTINGS`; `unfinished.safetensors` is its checkpoint when it was stopped
after a few steps, `measured.safetensors` a small calibration.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from bytecap.artifact.load import load
from bytecap.quant.calibration_file import load_calibration
from bytecap.run import recipe as recipes
from bytecap.text.tokens import load_tokens
from bytecap.train.checkpoint import load_checkpoint
from tests.runs import call

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parents[1] / "golden" / "run_0_1"
SETTINGS = {
    "text.vocab_size": 280, "text.validation_fraction": 0.2,
    "model.n_layers": 2, "model.d_model": 8, "model.n_heads": 1, "model.n_kv_heads": 1, "model.d_ff": 8,
    "train.steps": 400, "train.batch": 2, "train.context": 32, "train.checkpoint_seconds": 1,
    "quant.calibration_tokens": 2048, "quant.states": 8, "quant.rate": 0.2,
    "artifact.cap_bytes": 16000, "score.stride": 16,
}  # fmt: skip
RUN = [
    "run", "--text", "text", "--device", "cpu",
    *(f"--set={key}={value}" for key, value in SETTINGS.items()),
]  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "old"))


def test_every_file_opens() -> None:
    """With what it says, whatever has been added or renamed since."""
    recipe = recipes.load(GOLDEN / "recipe.toml")
    assert recipe.known_digests[1] == json.loads((GOLDEN / "record.json").read_text())["recipe_digest"]
    assert (recipe.model.d_model, recipe.train.steps, recipe.train.seconds, recipe.score.context) == (8, 400, 195, 32)
    tokens = load_tokens(GOLDEN / "tokens")
    assert (tokens.digest, tokens.vocab_size, len(tokens.validation_stream())) == ("33417eeba3768933", 280, 1275)
    done, begun = load_checkpoint(GOLDEN / "checkpoint.safetensors"), load_checkpoint(GOLDEN / "unfinished.safetensors")
    assert done.progressed.finished and not begun.progressed.finished and begun.optimizer
    assert done.spec == begun.spec == load(GOLDEN / "model.bcap").spec
    assert done.made_from == begun.made_from and done.tokens == tokens.digest
    assert done.model().embedding.shape == (280, 8)
    measured = load_calibration(GOLDEN / "measured.safetensors", "c0ffee")
    assert (measured.tokens, measured.unigram, measured.measured_on) == (96, math.inf, "here")
    assert measured.tensors["w"].gradient_square == 0.5 and measured.vectors == {"v": 0.25}


def test_a_finished_run_is_known(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same settings give its record; other settings are refused."""
    assert call(*RUN, "--out", old, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((GOLDEN / "record.json").read_text())
    changed = ["--set=train.steps=401" if word == "--set=train.steps=400" else word for word in RUN]
    assert call(*changed, "--out", old, "--quiet") == 2
    assert "differing: train.steps" in capsys.readouterr().err


def test_its_file_scores_as_it_did(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bits per byte of the record."""
    record = json.loads((GOLDEN / "record.json").read_text())
    assert call("score", old, "--json", "--quiet") == 0
    score = json.loads(capsys.readouterr().out)
    assert score["bits_per_byte"] == pytest.approx(record["scores"]["after"]["bits_per_byte"], rel=1e-4)


def test_its_stages_are_not_made_again(old: Path) -> None:
    """Without its record the run goes through its stages: training and fit are there."""
    (old / "record.json").unlink()
    before = {name: (old / name).read_bytes() for name in ("checkpoint.safetensors", "model.bcap")}
    assert call(*RUN, "--out", old, "--quiet") == 0
    assert {name: (old / name).read_bytes() for name in before} == before
    assert json.loads((old / "record.json").read_text())["training"]["steps"] == 400


def test_it_is_fitted_to_another_cap(old: Path, tmp_path: Path) -> None:
    """A smaller file of the old checkpoint."""
    assert call("fit", old, "--cap", "4500", "-o", tmp_path / "small.bcap", "--quiet") == 0
    assert call("fit", old, "--quiet") == 0  # it is fitted, so its old report is printed
    assert (tmp_path / "small.bcap").stat().st_size <= 4500


def test_an_unfinished_run_goes_on(old: Path) -> None:
    """Where it stopped, to its end."""
    for path in old.iterdir():
        if path.name not in ("recipe.toml", "tokens", "seconds.json"):
            path.unlink()
    shutil.copy(GOLDEN / "unfinished.safetensors", old / "checkpoint.safetensors")
    begun = load_checkpoint(old / "checkpoint.safetensors").progressed
    (old / "metrics.jsonl").write_text('{"step": 1}\n' * begun.step)
    assert call(*RUN, "--out", old, "--quiet") == 0
    done = load_checkpoint(old / "checkpoint.safetensors").progressed
    assert done.finished and done.step == 400 > begun.step > 50
    assert len((old / "metrics.jsonl").read_text().splitlines()) == 400
