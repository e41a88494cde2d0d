"""A run whose products were lost, damaged or half written: made again or refused, never passed over."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bytecap.core.digest import digest_bytes
from tests.runs import arguments, call

pytestmark = pytest.mark.slow
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def flip(path: Path, at: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def remove(*paths: Path) -> None:
    """Remove files."""
    for path in paths:
        path.unlink()


LOST: dict[str, Callable[[Path], object]] = {
    "model deleted": lambda run: remove(run / "model.bcap"),
    "model damaged": lambda run: flip(run / "model.bcap", 3000),
    "model longer": lambda run: (run / "model.bcap").write_bytes((run / "model.bcap").read_bytes() + b"x"),
    "model and scores deleted": lambda run: remove(run / "model.bcap", run / "score.json"),
    "model and its report deleted": lambda run: remove(run / "model.bcap", run / "model.fit.json"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_model_is_made_again(finished: Path, copy: Path, corpus: Path, capsys: Capture, name: str) -> None:
    """The same bytes from the same checkpoint, and a record that speaks of them; what was wrong is said."""
    LOST[name](copy)
    assert call(*arguments(corpus, copy), "--json") == 0
    out, err = capsys.readouterr()
    assert "model.bcap is missing; made again" in err or "is not the file that record.json speaks of" in err
    data = (copy / "model.bcap").read_bytes()
    assert data == (finished / "model.bcap").read_bytes()
    record, before = json.loads(out), json.loads((finished / "record.json").read_text())
    assert record["artifact"] == before["artifact"] and record["artifact"]["digest"] == digest_bytes(data)
    scores = {name: (score["bits_per_byte"], score["tokens"]) for name, score in record["scores"].items()}
    assert scores == {name: (score["bits_per_byte"], score["tokens"]) for name, score in before["scores"].items()}


def test_a_model_that_was_replaced_is_scored_again(copy: Path, corpus: Path, capsys: Capture) -> None:
    """A file of the same recipe and checkpoint under a smaller cap stays, and the record is of it."""
    assert call("fit", copy, "--cap", "8000", "--quiet", "-o", copy / "small.bcap") == 0
    for end in (".bcap", ".fit.json"):
        (copy / f"small{end}").replace(copy / f"model{end}")
    capsys.readouterr()
    assert call(*arguments(corpus, copy), "--quiet", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["artifact"]["bytes"] == (copy / "model.bcap").stat().st_size <= 8000
    assert call("score", copy, "--quiet", "--json") == 0
    assert json.loads(capsys.readouterr().out)["nats"] == record["scores"]["after"]["nats"]


def test_a_damaged_checkpoint_is_refused(copy: Path, corpus: Path, capsys: Capture) -> None:
    """Whoever reads it; and where the model stands the run stays finished."""
    flip(copy / "checkpoint.safetensors", 9000)
    assert call(*arguments(corpus, copy), "--quiet") == 0
    (copy / "model.bcap").unlink()
    capsys.readouterr()
    for words in (arguments(corpus, copy), ["fit", copy], ["train", copy], ["fit", copy, "--cap", "8kB"]):
        assert call(*words, "--quiet") == 3
        assert "checkpoint.safetensors is damaged: its digest says" in capsys.readouterr().err
    assert not (copy / "model.bcap").exists()


@pytest.mark.parametrize("name", ["score.json", "seconds.json", "model.fit.json", "record.json"])
@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"schema": 1, "recipe_digest": "", "artifact": {"bytes": 1}}', "{", "\udcff", "1" * 5000]
)
def test_products_of_another_shape_are_refused_by_name(
    copy: Path, corpus: Path, capsys: Capture, name: str, text: str
) -> None:
    """One sentence with the next step, and following it ends in a record."""
    if name != "record.json":
        (copy / "record.json").unlink()
    if name == "seconds.json":
        (copy / "score.json").unlink()
        text = "[1]" if text == "{}" else text
    (copy / name).write_bytes(text.encode(errors="surrogateescape"))
    assert call(*arguments(corpus, copy), "--quiet") == 3
    err = capsys.readouterr().err
    assert f"{name} " in err and "delete it and run the command that makes it again" in err
    (copy / name).unlink()
    if text == "[]":
        assert call(*arguments(corpus, copy), "--quiet") == 0


def test_records_of_other_versions(copy: Path, corpus: Path, capsys: Capture) -> None:
    """Schema 1, without a digest, and `finishes` for `fits` are read; a newer schema is refused."""
    path = copy / "record.json"
    record = json.loads(path.read_text())
    old = {**record, "schema": 1, "artifact": {k: v for k, v in record["artifact"].items() if k != "digest"}}
    path.write_text(json.dumps({("finishes" if key == "fits" else key): value for key, value in old.items()}))
    assert call(*arguments(corpus, copy), "--quiet", "--json") == 0
    assert json.loads(capsys.readouterr().out) == old
    flip(copy / "model.bcap", 3000)
    assert call(*arguments(corpus, copy), "--quiet", "--json") == 0
    assert json.loads(capsys.readouterr().out)["artifact"] == record["artifact"]
    path.write_text(json.dumps({**record, "schema": 99}))
    assert call(*arguments(corpus, copy), "--quiet") == 3
    assert "has schema 99, this version reads up to" in capsys.readouterr().err


def test_a_record_of_another_recipe(copy: Path, corpus: Path, capsys: Capture) -> None:
    """Without its recipe.toml a folder takes any recipe, but its record is not passed off as of that one."""
    (copy / "recipe.toml").unlink()
    assert call(*arguments(corpus, copy, **{"train.steps": 41})) == 3
    err = capsys.readouterr().err
    assert "record.json is of another recipe" in err and "choose another --out" in err


def test_inspect_generate_and_score_before_the_fit(copy: Path, capsys: Capture) -> None:
    """Each says what is missing and which verb makes it."""
    for verb in ("inspect", "generate", "score"):
        for lost, words in (("model.bcap", "has not been fitted"), ("checkpoint.safetensors", "has not been trained")):
            (copy / lost).rename(copy / "kept")
            if lost != "model.bcap":
                (copy / "model.bcap").rename(copy / "kept.bcap")
            assert call(verb, copy) == 3
            assert words in capsys.readouterr().err
            (copy / "kept").rename(copy / lost)
            if lost != "model.bcap":
                (copy / "kept.bcap").rename(copy / "model.bcap")


def test_modes_follow_the_umask(finished: Path) -> None:
    """Every file of a run can be read by whom the umask lets."""
    mask = os.umask(0o022)
    os.umask(mask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in finished.rglob("*") if path.is_file()}
    assert modes == dict.fromkeys(modes, 0o666 & ~mask)


# ---- other processes ----


def begin(words: list[str]) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    code = "import torch; torch.set_num_threads(1); from bytecap.commands.app import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Until another process has written something."""
    deadline = time.time() + 120
    while not (path.exists() and path.stat().st_size) and time.time() < deadline and process.poll() is None:
        time.sleep(0.002)


def test_two_writers_and_a_hard_kill(copy: Path, finished: Path, corpus: Path, tmp_path: Path, capsys: Capture) -> None:
    """The second writer is told who is first while readers read; after kill -9 nothing half written is left behind.

    It comes before the first checkpoint, so training begins again, and so does its curve.
    """
    out = tmp_path / "killed"
    changes = {"train.steps": 40, "train.checkpoint_seconds": 1000}
    process = begin(arguments(corpus, out, **{**changes, "train.steps": 100_000}))
    wait_for(out / "metrics.jsonl", process)
    for words in (arguments(corpus, out, **changes), ["train", str(out)], ["fit", str(out)]):
        assert call(*words, "--quiet") == 7
        assert f"is being written by process {process.pid} since" in capsys.readouterr().err
    for name in ("model.bcap", "record.json"):
        shutil.copy(finished / name, out / name)
    assert call("inspect", out) == 0
    (out / "model.bcap").unlink()
    (out / "record.json").unlink()
    (out / f".checkpoint.safetensors.{process.pid}.tmp").mkdir()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "checkpoint.safetensors").exists() and (out / "metrics.jsonl").read_text()
    shutil.rmtree(out / "tokens")  # the steps were another recipe's, whose products are gone with its tokens
    assert call(*arguments(corpus, out, **changes), "--quiet") == 0
    rows = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert rows == list(range(1, 41)) and not list(out.glob(".*.tmp"))
    capsys.readouterr()


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing beyond so many bytes of a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("size", "lost", "full"),
    [
        (10_000, "tokens", "tokens"),
        (1_000, "checkpoint.safetensors", "copy/"),  # the curve, or on a slow machine an early checkpoint
        (20_000, "checkpoint.safetensors", "checkpoint.safetensors"),
        (200_000, "calibration.safetensors", None),
        (5_000, "model.bcap", "model."),  # the file or its report, whichever comes first
        (500, "score.json", "score.json"),
        (3_000, "record.json", "record.json"),
        (40, "model.bcap", "log.txt"),
    ],
)
def test_a_full_disk_anywhere(
    copy: Path, corpus: Path, capsys: Capture, size: int, lost: str, full: str | None
) -> None:
    """Exit code 7 and one sentence, or a note where something is only kept for later; nothing half written stays."""
    for name in {lost, "record.json"} | (set() if lost in ("score.json", "record.json") else {"model.bcap"}):
        shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()
    (copy / "log.txt").write_text("x" * 30 if full == "log.txt" else "")
    with files_of_at_most(size):
        code = call(*arguments(corpus, copy))
    err = capsys.readouterr().err
    if full is None:
        assert code == 0 and "the calibration cannot be kept" in err
    else:
        last = err.splitlines()[-1].replace("seconds.json", "log.txt")  # on a fast machine it is written before the log
        assert code == 7 and "the disk is full" in last and full in last
    assert not list(copy.rglob("*.tmp")) and (full != "log.txt" or (copy / "log.txt").read_text() == "x" * 30)
    assert call(*arguments(corpus, copy), "--quiet") == 0 or lost == "tokens"
