"""`bytecap fit` through the command line: one cap or several, with a text or without, and what lies beside the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bytecap.artifact.load import load
from tests.conftest import make_document
from tests.end_to_end.fits import Capture, fitted, listing
from tests.runs import SETTINGS, call

CAP = 7000
WIDER_THAN_THE_SLACK = 200
pytestmark = pytest.mark.slow


def test_one_cap(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """The file asked for, just under the cap without its reserve, with its report beside it; it can be inspected."""
    out = tmp_path / "deep" / "small.bcap"
    (report,) = fitted(
        capsys, finished, "--cap", "7.5kB", "--reserve", "500", "--compressor", "zlib", "-o", out
    )  # fmt: skip
    assert report["bytes"] == out.stat().st_size and report["file"] == str(out) and report["scheme"] == "bytecap"
    assert (report["cap_bytes"], report["reserve_bytes"]) == (CAP + 500, 500)
    assert 0 <= report["unused_bytes"] == CAP - report["bytes"] < WIDER_THAN_THE_SLACK
    assert json.loads(out.with_suffix(".fit.json").read_text()) == report
    assert report["divergence"]["kl"] > 0 and report["bits_per_byte"]["kl"] > 0
    assert sum(report["loss_shares"].values()) == pytest.approx(1.0)
    assert report["bits_per_weight"] == 8 * report["bytes"] / load(out).quantized.weights
    assert {size.codec for size in load(out).sizes} == {"raw", "zlib"}
    assert call("inspect", out) == 0 and "of the loss" in capsys.readouterr().out


def test_the_cap_of_the_run(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """Holds where none is given, the reserve taken off."""
    (report,) = fitted(capsys, finished, "--reserve", "1kB", "--out", tmp_path / "a.bcap")
    assert report["cap_bytes"] == SETTINGS["artifact.cap_bytes"] >= report["bytes"] + 1000


def test_distilled_and_compensated_files_are_no_worse(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """Tensors rounded one after another, trained or corrected in between, make a file of the model like any other.

    It is nearer on the text that is set apart for this, or the file is the one without; on other text, and in a model
    of so few weights, what is nearer there may be a little farther here.
    """
    kl, files = [], []
    for number, setting in enumerate(("states=8", "distill_steps=10", "compensation_tokens=4096")):
        out, setting = tmp_path / f"{number}.bcap", f"--set=quant.{setting}"
        (report,) = fitted(capsys, finished, "--cap", "2500", "--out", out, setting)
        assert report["bytes"] <= 2500 and load(out).model().spec.n_layers == SETTINGS["model.n_layers"]
        kl.append(report["divergence"]["kl"])
        files.append(out.read_bytes())
    for place in (1, 2):
        assert kl[place] == kl[0] if files[place] == files[0] else kl[place] < 1.1 * kl[0]


def test_the_screen(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """What a person reads names the file, the size, the cap and the divergence."""
    out = tmp_path / "a.bcap"
    assert call("fit", finished, "--scheme", "pr1586", "--keep-small", "0", "--cap", "5000", "--out", out) == 0
    text = capsys.readouterr().out
    for words in (str(out), "pr1586", "of 5,000 (", "unused), ", "bits per weight", "KL to the original", " ± "):
        assert words in text


def test_several_caps(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """A file for each in the folder, and the curve through them as numbers and as a picture."""
    (tmp_path / "curve").mkdir()
    rows = fitted(capsys, finished, "--caps", "5kB,7kB", "--out", tmp_path / "curve")
    assert [row["cap_bytes"] for row in rows] == [5000, 7000]
    names = {f"model-{cap}{end}" for cap in (5000, 7000) for end in (".bcap", ".fit.json")}
    assert set(listing(tmp_path / "curve")) == names | {"curve.json", "curve.svg"}
    assert all(load(Path(row["file"])).size_bytes == row["bytes"] <= row["cap_bytes"] for row in rows)
    assert json.loads((tmp_path / "curve" / "curve.json").read_text()) == rows
    root = ElementTree.parse(tmp_path / "curve" / "curve.svg").getroot()
    assert sum(element.get("class") == "marker" for element in root.iter()) == 2


def test_one_cap_of_several(foreign: Path, tmp_path: Path, capsys: Capture) -> None:
    """A list of one is a list; without text there is no picture, and that is said."""
    given = ("fit", foreign, "--scheme", "int8", "--keep-small", "0", "--caps", "20kB", "--out", tmp_path / "c")
    assert call(*given) == 0
    assert set(listing(tmp_path / "c")) == {"model-int8-20000.bcap", "model-int8-20000.fit.json", "curve-int8.json"}
    printed = capsys.readouterr()
    assert "the curve has no picture" in printed.err and "curve-int8.json" in printed.out


def test_a_dry_run_writes_nothing(finished: Path, capsys: Capture) -> None:
    """Size within a few percent of the cap, a loss, and not a file more than before."""
    before = listing(finished)
    rows = fitted(capsys, finished, "--caps", "5kB,7kB", "--dry-run")
    assert listing(finished) == before
    for row in rows:
        assert row["predicted_bytes"] == pytest.approx(row["cap_bytes"], rel=0.04)
    assert rows[0]["predicted_increase_nats"] > rows[1]["predicted_increase_nats"] > 0
    assert call("fit", finished, "--scheme", "pr1586", "--keep-small", "0", "--dry-run", "--quiet") == 0
    assert "nats per token" in capsys.readouterr().out
    (row,) = fitted(capsys, finished, "--scheme", "int8", "--keep-small", "0", "--dry-run")
    assert row["cap_bytes"] is None and row["predicted_increase_nats"] is None and listing(finished) == before
    assert call("fit", finished, "--cap", "7kB", "--dry-run", "--set", "quant.calibration_tokens=512") == 0
    assert "measured again" in capsys.readouterr().err and listing(finished) == before, "the run's own stays"


def test_a_checkpoint_outside_its_folder(alone: Path, tmp_path: Path, capsys: Capture) -> None:
    """With text and tokenizer it is measured and compared; the file says that its recipe is not known."""
    out = tmp_path / "a.bcap"
    given = (alone / "w.safetensors", "--text", alone / "text.txt", "--tokenizer", alone / "tokenizer.model")
    (report,) = fitted(capsys, *given, "--cap", CAP, "--out", out)
    assert report["bytes"] <= CAP and report["divergence"]["kl"] > 0 and report["predicted_increase_nats"] > 0
    artifact = load(out)
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps({"body": make_document(seed)}) + "\n" for seed in range(100, 110)))
    field = ("--text", lines, "--set", "text.field=body")
    (again,) = fitted(capsys, alone / "w.safetensors", "--tokenizer", alone / "tokenizer.model", *field, "--cap", CAP)
    assert again["divergence"]["kl"] > 0
    assert call("score", out, *field, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["bits_per_byte"] > 0
    assert artifact.tokenizer == (alone / "tokenizer.model").read_bytes() and artifact.made_from["recipe"] == ""


def test_weights_without_text(foreign: Path, tmp_path: Path, capsys: Capture) -> None:
    """Somebody else's weights are fitted from themselves, and it is said that nothing was measured."""
    assert call("fit", foreign, "--cap", "6000", "--out", tmp_path / "a.bcap") == 0
    printed = capsys.readouterr()
    assert (
        "these are weights without their model" in printed.err
        and "KL" not in printed.out
        and "predicted +" not in printed.out
    )
    report = json.loads((tmp_path / "a.fit.json").read_text())
    assert report["bytes"] <= 6000 and report["divergence"] is None and report["predicted_increase_nats"] is None


def test_facts_that_are_none(finished: Path, tmp_path: Path, capsys: Capture) -> None:
    """A file without its report, or beside other things, is inspected all the same."""
    shutil.copy(finished / "model.bcap", tmp_path / "a.bcap")
    for text in ("{", "[]", "{}"):
        (tmp_path / "a.fit.json").write_text(text)
        assert call("inspect", tmp_path / "a.bcap") == 0
        assert "no share of the loss is shown" in capsys.readouterr().err


def test_help_is_complete(capsys: Capture) -> None:
    """The options of schemes are explained where they are."""
    assert call("fit", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("--scheme", "--keep-small", "small models need 0", "--embedding-step", "--compressor", "--dry-run"):
        assert words in text
