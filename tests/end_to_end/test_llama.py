"""A Llama-shaped model with a head of its own through every stage, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bytecap.artifact.load import load
from bytecap.quant.calibration_file import load_calibration
from tests.runs import arguments, call

pytestmark = pytest.mark.slow

LLAMA = {
    "model.block": "llama", "model.activation": "swiglu", "model.logit_softcap": 0, "model.tied": "false",
    "model.techniques.unet_skips": "false", "model.techniques.residual_mix": "false", "artifact.cap_bytes": 14_000,
}  # fmt: skip


def test_run_score_generate_and_published_schemes(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained, measured, fitted under the cap, scored again from the file; a published scheme takes the head too."""
    out = tmp_path / "run"
    assert call(*arguments(corpus, out, **LLAMA)) == 0
    record = json.loads((out / "record.json").read_text())
    scores = record["scores"]
    assert record["artifact"]["bytes"] <= 14_000
    assert 0.5 < scores["before"]["bits_per_byte"] < scores["after"]["bits_per_byte"] + 0.01 < 6.0
    made = load(out / "model.bcap")
    assert made.quantized.tensors["head"].role == "head" and made.quantized.tensors["head"].shape == (300, 16)
    assert {"blocks.head", "codes"} & {size.name for size in made.sizes}  # steps of rows and columns, or of rows
    calibration = load_calibration(out / "calibration.safetensors", made.made_from["checkpoint"])
    assert calibration.tensors["head"].inputs_II.shape == (16, 16)
    capsys.readouterr()
    assert call("score", out / "model.bcap", "--text", corpus, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["bits_per_byte"] > 0
    assert call("generate", out / "model.bcap", "the model", "--tokens", "5") == 0
    assert call("inspect", out / "model.bcap") == 0
    assert "head" in capsys.readouterr().out
    assert call("fit", out, "--scheme", "pr1586", "--keep-small", "0", "-o", tmp_path / "published.bcap") == 0
    assert load(tmp_path / "published.bcap").quantized.tensors["head"].role == "head"
