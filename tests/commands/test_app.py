"""The command line as a process: signals at any moment; and in process: no input file gives a traceback."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bytecap.core.errors import FormatError, Stopped
from bytecap.text.tokens import load_tokens
from tests.runs import SETTINGS, call

pytestmark = pytest.mark.slow

CODES = {0, 2, 3, 4, 5, 7}
"""What an input can lead to; 1 is a fault of ours."""
SETS = [f"--set={name}={value}" for name, value in SETTINGS.items()]
MOMENTS: dict[str, tuple[list[str], float]] = {
    "inspect": (["inspect", "run"], 1.5),
    "score": (["score", "run", "--quiet"], 3.0),
    "prepare": (["prepare", "baseline", "--text", "CORPUS", "--out", "new", "--quiet", *SETS], 2.5),
    "run": (["run", "baseline", "--text", "CORPUS", "--out", "new", "--quiet", *SETS], 8.0),
    "fit": (["fit", "w.safetensors", "--cap", "30kB", "-o", "o.bcap", "--quiet"], 4.0),
    "convert": (["convert", "w.pt", "o.safetensors"], 1.5),
}


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file but the log and the lock."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in ("log.txt", ".lock")}


@pytest.mark.parametrize(("verb", "number"), list(zip(MOMENTS, 3 * (signal.SIGINT, signal.SIGTERM), strict=True)))
def test_signals_at_any_moment(verb: str, number: signal.Signals, finished: Path, corpus: Path, tmp_path: Path) -> None:
    """The exit code says so, nothing is damaged or left half written, nothing is told as another fault."""
    shutil.copytree(finished, tmp_path / "run")
    save_file({"w": torch.ones(256, 256).tril()}, tmp_path / "w.safetensors")
    torch.save({"w": torch.ones(256, 256)}, tmp_path / "w.pt")
    words, most = MOMENTS[verb]
    given = [str(corpus) if word == "CORPUS" else word for word in words]
    before = contents(tmp_path)
    delay = random.Random(f"{verb}{number}").uniform(0.15, most)
    with subprocess.Popen(
        [sys.executable, "-m", "bytecap", *given], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            process.wait(delay)
            sent = False
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            sent = True
        err = process.communicate()[1].decode()
    # The end of an interpreter whose work is done may be ended by the signal itself, or be too late for it.
    assert process.returncode in ((0, 128 + number, -number) if sent else (0,)), err
    assert "Traceback" not in err and "ignored" not in err
    assert ("stopped by" in err) == (process.returncode == 128 + number)
    after = contents(tmp_path)
    assert before.items() <= after.items() and not [p for p in after if p.name.endswith(".tmp")]


def test_no_reader_swallows_a_signal(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal inside the parser of a header, which turns whatever is wrong into a damaged file."""

    def parse(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException:
            raise FormatError("damaged") from None

    monkeypatch.setattr("bytecap.artifact.load.parse", parse)
    assert call("inspect", finished) == 143
    assert not issubclass(Stopped, Exception)


def test_a_text_that_was_stopped_says_what_is_kept(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of it is, and the sentence says no more than that."""

    def draw(*_: object, **__: object) -> list[int]:
        os.kill(os.getpid(), signal.SIGINT)
        return []

    monkeypatch.setattr("bytecap.artifact.generate.sample", draw)
    assert call("generate", finished) == 130
    said = capsys.readouterr().err
    assert "stopped by Ctrl-C before the text was finished, and nothing of it is kept" in said
    assert "finished stages" not in said


Maker = Callable[[Path], object]
DEEP = "[" * 100_000 + "]" * 100_000


def bad_files(folder: Path) -> list[Path]:
    """Files and other things of every kind but the right one."""
    made: dict[str, bytes] = {
        "empty": b"",
        "zeros": bytes(3000),
        "text": b"hello world\n" * 20,
        "latin": "h\u00e9\u00e8".encode("latin-1") * 50,
        "utf16": "wide".encode("utf-16"),
        "noise": random.Random(0).randbytes(3000),
        "json": b'{"a": [1, 2, {"b": null}]}',
        "list": b"[1, 2]",
        "null": b"null",
        "bom": b"\xef\xbb\xbf{}",
        "digits": b'{"text": ' + b"9" * 5000 + b"}",
        "deep": DEEP.encode(),
        "surrogate": b'{"text": "\\ud800"}',
        "toml": b"a = 1\n[b]\nc = [1, 'x']\n",
        "nan": b"[run]\nrecipe = nan\n",
        "gzip": b"\x1f\x8b" + bytes(60),
        "magic": b"BCAP" + bytes(40),
        "header": (1 << 62).to_bytes(8, "little") + b"{}",
        "nul": b"\0" * 8 + b"{}",
    }
    paths = [folder / f"{name}" for name in made]
    for path, data in zip(paths, made.values(), strict=True):
        path.write_bytes(data)
    (folder / "folder").mkdir()
    (folder / "name\n\x1b[31m").write_bytes(b"x")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "closed").write_bytes(b"x")
    (folder / "closed").chmod(0)
    more = ["folder", "name\n\x1b[31m", "dangling", "circle", "closed", "absent", "a" * 300]
    return [*paths, *(folder / name for name in more), Path("/dev/null"), Path()]


PLACES = {
    "inspect": ["inspect", "BAD"],
    "score": ["score", "BAD"],
    "score text": ["score", "MODEL", "--text", "BAD"],
    "generate": ["generate", "BAD", "the", "--tokens", "3"],
    "train": ["train", "BAD"],
    "fit": ["fit", "BAD", "--cap", "9kB", "--out", "OUT.bcap"],
    "fit run": ["fit", "BAD"],
    "fit text": ["fit", "CHECKPOINT", "--cap", "9kB", "--text", "BAD", "--tokenizer", "TOKENIZER", "--dry-run"],
    "fit tokenizer": ["fit", "CHECKPOINT", "--cap", "9kB", "--text", "BAD", "--tokenizer", "BAD", "--dry-run"],
    "prepare": ["prepare", "--text", "BAD", "--out", "OUT"],
    "prepare recipe": ["prepare", "BAD", "--text", "BAD", "--out", "OUT"],
    "prepare track": ["prepare", "--track", "BAD", "--text", "BAD", "--out", "OUT"],
    "prepare shards": ["prepare", "--set", "text.shards=BAD", "--set", "text.tokenizer=BAD", "--out", "OUT"],
    "prepare tokenizer": ["prepare", "--text", "CORPUS", "--set", "text.tokenizer=BAD", "--out", "OUT"],
    "convert": ["convert", "BAD", "OUT.safetensors"],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", PLACES)
def test_no_input_file_gives_a_traceback(
    place: str, finished: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Each bad thing wherever a verb takes a file: a code of ours, one line, and nothing escapes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TOKENIZER").write_bytes(load_tokens(finished / "tokens").tokenizer.model)
    bad = tmp_path / "bad"
    bad.mkdir()
    if place == "convert":  # its own process: the files that torch itself looks into are in tests/convert
        monkeypatch.setattr("bytecap.convert.job._run_child", run_child_here)
    run = shutil.copytree(finished, tmp_path / "run")
    known = {"MODEL": run / "model.bcap", "CHECKPOINT": run / "checkpoint.safetensors", "CORPUS": corpus}
    for number, path in enumerate(bad_files(bad)):
        words = [str(known.get(word, word)).replace("BAD", str(path)) for word in PLACES[place]]
        words = [word.replace("OUT", str(tmp_path / f"out{number}")) for word in words]
        code = call(*words)
        out, err = capsys.readouterr()
        assert code in CODES and "Traceback" not in err + out and "\x1b" not in err + out, (path, code, err)
        assert err.count("\nbytecap: ") <= 1, (path, err)


def run_child_here(source: Path, job: dict[str, Any], folder: Path) -> object:
    """As the process does it, without the process."""
    from bytecap.convert.child import convert_files

    return convert_files(job["files"], job["key"], folder, job["dequantize"])


def damage(name: str) -> Maker:
    """A way to damage one product of a run."""

    def cut(path: Path) -> object:
        return path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def make_folder(path: Path) -> object:
        path.unlink()
        path.mkdir()
        return path

    ways: dict[str, Maker] = {
        "empty": lambda path: path.write_bytes(b""), "cut": cut, "null": lambda path: path.write_bytes(b"null"),
        "deep": lambda path: path.write_text(DEEP), "folder": make_folder,
        "noise": lambda path: path.write_bytes(random.Random(1).randbytes(500)), "gone": Path.unlink,
        "list": lambda path: path.write_text("[]"), "object": lambda path: path.write_text("{}"),
        "gzip": lambda path: path.write_bytes(gzip.compress(b"x")),
        "types": lambda path: path.write_text(json.dumps({k: [v] for k, v in loaded(path).items()})),
    }  # fmt: skip
    return ways[name]


def loaded(path: Path) -> dict[str, object]:
    """A JSON product, or a table of that kind."""
    try:
        value = json.loads(path.read_text())
    except ValueError:
        return {"a": 1}
    return value if isinstance(value, dict) else {"a": 1}


WAYS = ("empty", "cut", "null", "deep", "folder", "noise", "gone", "list", "object", "types")
READERS = (["inspect"], ["score", "--quiet"], ["generate", "--tokens=2"], ["train", "--quiet"], ["fit", "--quiet"])


@pytest.mark.filterwarnings("ignore")
def test_no_damaged_product_gives_a_traceback(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files of a run folder damaged, met by the verbs that read them; each pair in another way."""
    names = sorted(str(p.relative_to(finished)) for p in finished.rglob("*") if p.is_file() and p.name != ".lock")
    run, pairs = tmp_path / "run", random.Random(7).sample(list(itertools.product(READERS, names)), 36)
    for (words, name), way in zip(pairs, itertools.cycle(WAYS), strict=False):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(finished, run)
        damage(way)(run / name)
        code = call(words[0], run, *words[1:])
        out, err = capsys.readouterr()
        assert code in CODES and "Traceback" not in err + out, (name, way, words, code, err)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 7.28 TiB for an array"),
        RuntimeError("can't allocate memory: you tried to allocate 4000 bytes. Error"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7.28 TiB. GPU 0 has"),
    ],
)
def test_too_little_memory(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no allocator can give is told in a sentence with the amount, where the allocator says one."""

    def fail(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr("bytecap.commands.verbs.call", fail)
    assert call("recipes") == 7
    said = capsys.readouterr().err
    assert "more memory than there is" in said
    assert ("4000 bytes" in said or "7.28 TiB" in said) == bool(str(error))
    assert ("train.micro_batch" in said) == ("CUDA" in str(error))


def test_other_faults_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A RuntimeError that speaks of anything else is a fault of ours."""

    def fail(arguments: list[str]) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("bytecap.commands.verbs.call", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        call("recipes")
