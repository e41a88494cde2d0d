"""A folder under a cap, by the command line and back: bytes, report, score, and what cannot be asked."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bytecap
from bytecap.artifact.load import load
from bytecap.artifact.pack import ArtifactConfig
from bytecap.core.progress import Silent
from bytecap.fitting.source import source_from_module
from bytecap.huggingface.fitting import FolderFit, FolderInputs, make_true_loss
from bytecap.huggingface.folder import open_folder
from bytecap.huggingface.model import load_folder
from bytecap.huggingface.texts import tokenize_documents
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.statistics import Calibration
from tests.huggingface.models import TEXT, byte_level_bpe, make_folder, word_piece
from tests.runs import call

BARE = ("--quiet", "--set", "quant.calibration_tokens=0", "--set", "quant.states=4")
FAST = ("--quiet", "--set", "quant.calibration_tokens=1024", "--set", "quant.states=4")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of documents."""
    folder = tmp_path_factory.mktemp("text")
    for number, document in enumerate(TEXT):
        (folder / f"{number:02d}.txt").write_text(document)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama."""
    return make_folder(tmp_path_factory.mktemp("folder") / "llama")


@pytest.fixture
def asked(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What a command says as JSON; its error otherwise."""

    def ask(*words: str | Path) -> Any:
        capsys.readouterr()
        code = call(*words, "--json")
        value = json.loads(capsys.readouterr().out)
        assert (code == 0) == ("error" not in value), value
        return value

    return ask


@pytest.mark.parametrize("kind", ["gpt2", "mixtral"])
def test_fit_and_score(tmp_path: Path, text: Path, kind: str, asked: Callable[..., Any]) -> None:
    """Under the cap, near to the original, and the file alone gives the score that the report promises."""
    folder, out = make_folder(tmp_path / "model", kind), tmp_path / "small.bcap"
    report = asked("fit", folder, "--cap", "40kB", "--text", text, "-o", out, *FAST)["fitted"][0]
    assert report["model_type"] == kind and report["no_bits_per_byte"] is None
    assert out.stat().st_size == report["bytes"] <= 40_000
    assert 0 <= report["divergence"]["kl"] < 0.01 and report["predicted_increase_nats"] > 0
    ratio = report["divergence"]["loss_before"] / report["bits_per_byte"]["loss_before"]
    artifact = load(out)
    assert next(iter(artifact.attached)) == "config.json" and "tokenizer.json" in artifact.attached
    before = asked("score", folder, "--text", text, "--stride", "64", "--quiet")
    after = asked("score", out, "--text", text, "--quiet", "--stride", "64")
    assert after["bits_per_byte"] == pytest.approx(before["bits_per_byte"], rel=0.01)
    bytes_per_token = before["text_bytes"] / before["tokens"]
    assert ratio == pytest.approx(0.6931471805599453 * bytes_per_token, rel=0.2)
    assert before["text_bytes"] == sum(len(document.encode()) for document in TEXT)
    assert bytecap.score(out, text=text, stride=64).nats == after["nats"]
    written = asked("generate", out, "the ", "--tokens", "70", "--temperature", "0")["text"]
    assert written.startswith("the ") and written == bytecap.generate(out, "the ", tokens=70, temperature=0)
    rows = {row["name"]: row for row in asked("inspect", out)["tensors"]}
    assert rows["attached"]["coded_bytes"] > 500 and sum(r["coded_bytes"] for r in rows.values()) == report["bytes"]


def test_a_fit_is_held_against_the_loss(llama: Path) -> None:
    """Of enough different positions; where few were seen, other windows of them say nothing new."""
    folder, how = open_folder(llama), FolderFit(quant=QuantConfig(), artifact=ArtifactConfig(), context=16, seed=0)
    text = tokenize_documents(TEXT, HuggingFaceTokenizer.read(llama, str(llama)))
    model = load_folder(folder, Silent())
    inputs = FolderInputs(folder, model, source_from_module(model.module), text, how)
    many = Calibration(source_digest="x", tokens=4096, loss=1.0, unigram=2.0, tensors={}, distinct=4096)
    true_loss = make_true_loss(inputs, many)
    assert true_loss is not None
    weights = inputs.source.weights
    halved = {name: np.float32(0.5) * weight for name, weight in weights.items() if weight.ndim == 2}
    assert true_loss(weights).mean == pytest.approx(0, abs=1e-6) and true_loss(halved).mean > 1e-4
    assert make_true_loss(inputs, dataclasses.replace(many, distinct=100)) is None


def test_without_text(llama: Path, tmp_path: Path, asked: Callable[..., Any]) -> None:
    """By text of its own, at several caps, and as a prediction; by the size of the weights where that is asked."""
    found = asked("fit", llama, "--caps", "30kB,40kB", "-o", tmp_path / "curve", *FAST)["fitted"]
    assert [row["cap_bytes"] for row in found] == [30_000, 40_000] and 0 <= found[0]["divergence"]["kl"] < 0.01
    assert found[0]["bits_per_byte"] is None and found[0]["no_bits_per_byte"] is None
    bare = ("--cap", "30kB", "-o", tmp_path / "bare.bcap", *BARE)
    assert asked("fit", llama, *bare)["fitted"][0]["divergence"] is None
    assert "predicted" in asked("fit", llama, *bare[:2], "--dry-run", *bare[4:])


def test_a_scheme(llama: Path, tmp_path: Path, text: Path, asked: Callable[..., Any]) -> None:
    """A published one at its own size, compared with the original."""
    words = ("--scheme", "int8", "--keep-small", "0", "-o", tmp_path / "int8.bcap", "--text", text, *FAST[:3])
    found = asked("fit", llama, *words)["fitted"][0]
    assert found["scheme"] == "int8" and 0 < found["divergence"]["kl"] < 0.01


def test_tokenizer_outside(
    llama: Path, tmp_path: Path, text: Path, asked: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not in the file and does not count; who scores it must bring it."""
    out = tmp_path / "outside.bcap"
    assert call("fit", llama, "--cap", "30kB", "--tokenizer-outside", "-o", out, *BARE) == 0
    assert "outside the file, not counted" in capsys.readouterr().out
    assert list(load(out).attached) == ["config.json", "generation_config.json"]
    said = asked("score", out, "--text", text, "--quiet")["error"]["message"]
    assert "there is no tokenizer" in said and "--tokenizer" in said
    assert asked("score", out, "--text", text, "--tokenizer", llama, "--quiet")["bits_per_byte"] > 0
    other = tmp_path / "other"
    byte_level_bpe().save_pretrained(other)
    changed = json.loads((other / "tokenizer.json").read_text())
    (other / "tokenizer.json").write_text(json.dumps(changed | {"version": "1.1"}))
    said = asked("score", out, "--text", text, "--tokenizer", other, "--quiet")["error"]["message"]
    assert "is not the one that the file was made with" in said


def test_lost_text(tmp_path: Path, text: Path, asked: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """KL and nats per token, and no bits per byte."""
    folder = make_folder(tmp_path / "model")
    (folder / "tokenizer_config.json").unlink()
    word_piece().save_pretrained(folder)
    assert call("fit", folder, "--cap", "40kB", "--text", text, "-o", tmp_path / "a.bcap", *FAST) == 0
    assert "not given, for document 1 does not come back" in capsys.readouterr().out
    report = json.loads((tmp_path / "a.fit.json").read_text())
    assert report["divergence"]["kl"] >= 0 and report["bits_per_byte"] is None
    assert "does not come back" in report["no_bits_per_byte"] and report["tokenizer"] == "inside"
    found = asked("score", folder, "--text", text, "--quiet")
    assert found["bits_per_byte"] is None and "does not come back" in found["refused"]
    assert call("score", folder, "--text", text, "--quiet") == 0
    with pytest.raises(bytecap.DataError, match=r"nats per token\), for document 1 does not come back"):
        bytecap.score(folder, text=text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "{}"), "how large may the file be?"),
        (("fit", "{}", "--cap", "1kB", "--set", "quant.calibration_tokens=0"), "1,000"),
        (("fit", "{}", "--cap", "30kB", "--tokenizer", "x.model"), "has its own tokenizer"),
        (("fit", "{}", "--cap", "10"), "header and attached files"),
        (("fit", "{}", "--cap", "30kB", "--set", "train.context=65"), "more than the 64 positions"),
        (("fit", "{}", "--cap", "30kB", "--set", "model.d_model=65"), "changes nothing in this fit"),
        (("score", "{}"), "no held-out text"),
        (("score", "{}", "--text", "{text}", "--adapt", "lora"), "is scored as it is"),
        (("score", "{}", "--text", "{text}", "--stride", "65"), "the stride is 65"),
        (("score", "{}", "--text", "{text}", "--tokenizer", "{}"), "has its own tokenizer"),
    ],
)
def test_what_cannot_be_asked(
    llama: Path, text: Path, words: tuple[str, ...], said: str, asked: Callable[..., Any]
) -> None:
    """One sentence each."""
    given = [word.format(llama, text=text) for word in words]
    assert said in asked(*given, "--quiet")["error"]["message"]
