"""Text to score through the command line, as a user meets it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bytecap.artifact.load import load
from bytecap.scoring.windows import windows
from tests.runs import SETTINGS, arguments, call

pytestmark = pytest.mark.slow


def test_record_and_files(finished: Path) -> None:
    """Everything the record names is there, under the cap, and the scores make sense."""
    record = json.loads((finished / "record.json").read_text())
    names = {
        "recipe.toml",
        "model.fit.json",
        "calibration.safetensors",
        "model.bcap",
        "score.json",
        "metrics.jsonl",
        "log.txt",
        "checkpoint.safetensors",
    }
    assert names <= {p.name for p in finished.iterdir()} and (finished / "tokens" / "manifest.json").exists()
    size = (finished / "model.bcap").stat().st_size
    assert record["artifact"]["bytes"] == size == sum(record["artifact"]["sections"].values()) <= 9000
    assert record["artifact"]["unused_bytes"] == 9000 - size < 200  # sizes of so small a model jump
    scores = record["scores"]
    assert 0.5 < scores["before"]["bits_per_byte"] < scores["after"]["bits_per_byte"] + 0.01 < 5.0
    assert scores["before"]["tokens"] == record["corpus"]["validation_tokens"] - 1
    assert record["byte_check"]["counted"] == record["byte_check"]["raw"] == record["byte_check"]["decoded"]
    assert set(record["compressors"]) == {"whole", "per_document", "sample"}
    assert set(record["seconds"]) == {"prepare", "train", "fit", "score", "report"}
    assert record["training"]["steps"] == 40 and record["sample"]["continued"]
    every = list(range(record["recipe"]["model"]["n_layers"]))
    assert record["model"]["visits"] == every
    assert record["model"]["techniques"] == {"unet_skips": every, "residual_mix": every}


def test_score_from_the_file_is_the_score_in_the_record(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`score` on the run and on the file give the record's number to the last bit."""
    record = json.loads((finished / "record.json").read_text())
    for path in (finished, finished / "model.bcap"):
        assert call("score", path, "--json", "--quiet") == 0
        value = json.loads(capsys.readouterr().out)
        assert value["bits_per_byte"] == record["scores"]["after"]["bits_per_byte"]
        assert value["nats"] == record["scores"]["after"]["nats"]


def test_score_of_a_file_alone(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Away from its run folder a file needs text; on the run's own held-out text it scores the same."""
    record = json.loads((finished / "record.json").read_text())
    alone = tmp_path / "alone.bcap"
    alone.write_bytes((finished / "model.bcap").read_bytes())
    assert call("score", alone) == 2
    assert "give some with --text PATH" in capsys.readouterr().err
    text = finished / "tokens" / "validation.jsonl"
    rows = [json.dumps({"text": json.loads(line)}) for line in text.read_text().splitlines()]
    (tmp_path / "held.jsonl").write_text("\n".join(rows))
    assert call("score", alone, "--text", tmp_path / "held.jsonl", "--stride", "8", "--json", "--quiet") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["bits_per_byte"] == pytest.approx(record["scores"]["after"]["bits_per_byte"], rel=1e-9)


def test_generate_and_inspect(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Text that begins with the prompt; rows that add up to the file."""
    assert call("generate", finished, "the model", "--tokens", "5") == 0
    assert capsys.readouterr().out.startswith("the model")
    for flag, refusal in (("--tokens=-3", "-3"), ("--temperature=-1", "the temperature is -1")):
        assert call("generate", finished, "the", flag) == 2 and refusal in capsys.readouterr().err
    assert call("inspect", finished / "model.bcap", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert sum(row["coded_bytes"] for row in value["tensors"]) == value["bytes"]
    assert call("inspect", finished) == 0
    assert "blocks.0.attention.query.weight" in capsys.readouterr().out


def test_a_second_run_only_prints(finished: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The record again, from the file."""
    own = {"log.txt", ".lock"}
    stamps = {p.name: p.stat().st_mtime_ns for p in finished.iterdir() if p.name not in own}
    assert call(*arguments(corpus, finished), "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((finished / "record.json").read_text())
    assert {p.name: p.stat().st_mtime_ns for p in finished.iterdir() if p.name not in own} == stamps


def test_another_recipe_is_refused(finished: Path, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The differing keys are named, nothing is touched."""
    assert call(*arguments(corpus, finished, **{"train.steps": 41})) == 2
    assert "holds a run of another recipe" in (text := capsys.readouterr().err) and "train.steps" in text


def test_verb_by_verb_equals_run(
    finished: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """prepare, train and fit leave the same bytes as run."""
    out = tmp_path / "steps"
    assert (
        call("prepare", *arguments(corpus, out)[1 : -len(SETTINGS) - 2], *arguments(corpus, out)[-len(SETTINGS) :]) == 0
    )
    for verb in ("train", "fit"):
        assert call(verb, out, "--quiet", "--json") == 0
    assert (out / "model.bcap").read_bytes() == (finished / "model.bcap").read_bytes()
    capsys.readouterr()


def test_kill_and_continue(finished: Path, corpus: Path, tmp_path: Path) -> None:
    """`kill -9` in the middle of training; the same command continues and ends with the same bytes."""
    out = tmp_path / "killed"
    command = [
        sys.executable,
        "-c",
        "import torch; torch.set_num_threads(1); from bytecap.commands.app import main; main()",
    ]
    command += arguments(corpus, out, **{"train.steps": 40})
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not (out / "checkpoint.safetensors").exists() and time.time() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "record.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "record.json").read_text())
    curve = (out / "metrics.jsonl").read_text().splitlines()
    assert record["seconds"]["train"] == pytest.approx(json.loads(curve[-1])["seconds"], abs=0.01) and len(curve) == 40
    assert (out / "model.bcap").read_bytes() == (finished / "model.bcap").read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_tell(corpus: Path, tmp_path: Path, number: int, code: int) -> None:
    """Ctrl-C and SIGTERM in the middle of training: saved, one sentence, the signal's exit code."""
    out = tmp_path / "stopped"
    command = [sys.executable, "-m", "bytecap", *arguments(corpus, out, **{"train.steps": 100_000})]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.time() + 120
    while not (out / "metrics.jsonl").exists() and time.time() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "saved, run the same command to go on" in err
    assert "Traceback" not in err and (out / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"artifact.cap_bytes": 1000}, 4, "a cap of 1,000 bytes cannot be met"),
        ({"train.secnds": 1}, 2, "did you mean seconds"),
        ({"text.tokenizer": "missing.model"}, 3, "cannot read tokenizer"),
        ({"model.d_model": 17}, 2, "multiple of twice model.n_heads"),
    ],
)
def test_wrong_settings(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], code: int, message: str
) -> None:
    """A sentence, the exit code, and no training."""
    out = tmp_path / "wrong"
    assert call(*arguments(corpus, out, **changes)) == code
    assert message in capsys.readouterr().err
    assert not (out / "checkpoint.safetensors").exists()


def test_errors_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json the error is an object on stdout, with its values."""
    assert call("run", "--text", tmp_path / "nothing", "--out", tmp_path / "x", "--json", "--quiet") == 3
    value = json.loads(capsys.readouterr().out)
    assert value["error"]["kind"] == "DataError" and "no text files at" in value["error"]["message"]


def mutations(data: bytes) -> dict[str, bytes]:
    """Three of each kind."""
    size = len(data)
    cut = {f"cut at {n}": data[:n] for n in (10, size // 2, size - 1)}
    changed = {f"byte {n}": data[:n] + bytes([data[n] ^ 0x40]) + data[n + 1 :] for n in (5, size // 2, size - 1)}
    huge = {f"huge {n}": data[:8] + (1 << n).to_bytes(4, "little") + data[12:] for n in (23, 28, 31)}
    appended = {f"appended {n}": data + b"x" * n for n in (1, 100, size)}
    future = {f"version {v}": data[:4] + v.to_bytes(2, "little") + data[6:] for v in (0, 1, 99)}
    return {**cut, **changed, **huge, **appended, **future}


def test_damaged_files_are_refused_by_every_verb(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 5 and one sentence, whatever reads the file."""
    data = (finished / "model.bcap").read_bytes()
    path = tmp_path / "damaged.bcap"
    text = tmp_path / "text.txt"
    text.write_text("some text")
    for kind, damaged in mutations(data).items():
        path.write_bytes(damaged)
        for verb in (("inspect", path), ("score", path, "--text", text), ("generate", path)):
            assert call(*verb) == 5, (kind, verb)
            assert "damaged.bcap" in capsys.readouterr().err


def test_usage_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown verbs, flags, recipes and folders."""
    assert call("recipes") == 0 and "baseline" in capsys.readouterr().out
    assert call("run", "baselin") == 2 and "did you mean baseline" in capsys.readouterr().err
    assert call("train", tmp_path / "x") == 3 and "not a run folder" in capsys.readouterr().err
    assert call("generate", tmp_path / "x.bcap") == 3 and "does not exist" in capsys.readouterr().err
    assert call("run", "--device", "tpu", "--out", tmp_path / "x") == 2 and not (tmp_path / "x").exists()


def test_places_that_cannot_be_written_to(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file where a folder is needed is named, and stays."""
    file = tmp_path / "file"
    file.write_text("mine")
    assert call("run", "--out", file) == 7
    assert f"cannot save {file}: a file is where a folder is needed" in capsys.readouterr().err
    assert call("fit", finished, "--cap", "7kB", "--out", file / "small.bcap") == 7
    assert "a file is where a folder is needed; nothing was written" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_a_failed_run_leaves_its_folder_free(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What failed before anything was made is corrected and called again; what was made is kept."""
    out = tmp_path / "run"
    assert call(*arguments(corpus, out, **{"artifact.cap_bytes": 1000})) == 4
    assert call("prepare", *arguments(corpus, out)[1:4], "--out", out, "--set", "text.vocab_size=280") == 0
    assert call("prepare", *arguments(corpus, out)[1:4], "--out", out, "--set", "text.vocab_size=290") == 2
    assert "holds a run of another recipe" in capsys.readouterr().err
    (out / "recipe.toml").write_text("")
    assert call("train", out) == 2 and "is not the recipe of a run: it has no [run]" in capsys.readouterr().err


def test_windows_of_the_record_are_sliding(finished: Path) -> None:
    """The recorded stride is the one used: fewer windows than positions, more than plain."""
    record = json.loads((finished / "record.json").read_text())["scores"]["after"]
    count = len(list(windows(record["tokens"], context=record["context"], stride=record["stride"])))
    assert record["tokens"] / record["context"] < count < record["tokens"]
    assert load(finished / "model.bcap").context == record["context"]
