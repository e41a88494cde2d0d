"""From a path to one safetensors file: what is found, what is written, what is left when the reader dies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bytecap.convert.child import read_tables
from bytecap.convert.job import convert, find_files
from bytecap.core.errors import BytecapError, ConfigError, DataError

pytestmark = pytest.mark.slow

W = {"a": torch.ones(4, 4), "b": torch.zeros(3)}


def index(folder: Path, weight_map: Any, name: str = "model.safetensors.index.json") -> Path:
    """An index file."""
    path = folder / name
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return path


def test_one_file(tmp_path: Path) -> None:
    """A checkpoint of the usual kind, through the process of its own; nothing else is left in the folder."""
    torch.save({"model": {f"module.{n}": v for n, v in W.items()}, "epoch": 1}, tmp_path / "x y.pt")
    done = convert(tmp_path / "x y.pt", tmp_path / "out" / "y.safetensors")
    assert done.key == "model" and done.tensors == 2 and done.numbers == 19 and done.renamed == 2
    assert done.left_out == {"epoch": "int"} and done.bytes == (tmp_path / "out" / "y.safetensors").stat().st_size
    found = load_file(tmp_path / "out" / "y.safetensors")
    assert all(torch.equal(found[name], value) for name, value in W.items())
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["y.safetensors"]


def test_shards_in_a_folder(tmp_path: Path) -> None:
    """A published model's folder: its index, its shards."""
    save_file({"a": W["a"]}, tmp_path / "1.safetensors")
    save_file({"b": W["b"]}, tmp_path / "2.safetensors")
    index(tmp_path, {"a": "1.safetensors", "b": "2.safetensors"})
    assert set(load_file(convert(tmp_path, tmp_path / "o.safetensors").file)) == {"a", "b"}
    (tmp_path / "2.safetensors").unlink()
    with pytest.raises(DataError, match=r"names 2.safetensors, which is not there"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        ({"a": "../x.safetensors"}, "not a file beside it"),
        ({"a": "/etc/passwd"}, "not a file beside it"),
        ({"a": ".."}, "is not there"),
        ({"a": 3}, "no index of shards"),
        ({}, "no index of shards"),
        ([], "no index of shards"),
        (None, "no index of shards"),
    ],
)
def test_bad_indices(weight_map: Any, said: str, tmp_path: Path) -> None:
    """An index leads nowhere else."""
    with pytest.raises(DataError, match=said):
        find_files(index(tmp_path, weight_map))


def test_bad_places(tmp_path: Path) -> None:
    """Nothing that is there is lost, and nothing is looked for in vain."""
    torch.save(W, tmp_path / "x.pt")
    (tmp_path / "there.safetensors").write_text("mine")
    with pytest.raises(ConfigError, match="there already"):
        convert(tmp_path / "x.pt", tmp_path / "there.safetensors")
    with pytest.raises(ConfigError, match=r"must end in .safetensors"):
        convert(tmp_path / "x.pt", tmp_path / "x.bin")
    with pytest.raises(ConfigError, match="is a folder without"):
        convert(tmp_path, tmp_path / "o.safetensors")
    with pytest.raises(DataError, match="does not exist"):
        convert(tmp_path / "nope.pt", tmp_path / "o.safetensors")
    assert (tmp_path / "there.safetensors").read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("pass", "exit code 0"),
    ],
)
def test_a_reader_that_dies(code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says how, and nothing left behind."""
    torch.save(W, tmp_path / "x.pt")
    started = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda words, **how: started([*words[:-1], code], **how))
    with pytest.raises(BytecapError, match=f"ended without a result .*{said}"):
        convert(tmp_path / "x.pt", tmp_path / "o.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_errors_of_the_reader(tmp_path: Path) -> None:
    """What is wrong with the words or the file is told as such."""
    torch.save({"model": W, "ema": W | {"c": torch.ones(1)}}, tmp_path / "x.pt")
    with pytest.raises(ConfigError, match="choose one with --key model"):
        convert(tmp_path / "x.pt", tmp_path / "o.safetensors")
    assert convert(tmp_path / "x.pt", tmp_path / "o.safetensors", "ema").tensors == 3
    (tmp_path / "y.tflite").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"is a file of TFLite, and convert reads \.bin, \.ckpt, \.gguf"):
        read_tables(tmp_path / "y.tflite")
    (tmp_path / "y.bcap").write_bytes(b"nothing")
    with pytest.raises(
        ConfigError, match=r"is a fitted file.*bytecap export .*y.bcap OUT.safetensors --to safetensors"
    ):
        read_tables(tmp_path / "y.bcap")
    (tmp_path / "y.pt").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as a PyTorch checkpoint"):
        convert(tmp_path / "y.pt", tmp_path / "p.safetensors")


FULL = """
import resource, sys
from pathlib import Path
from bytecap.convert.job import convert
from bytecap.core.errors import BackendError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
except BackendError as error:
    assert str(error).startswith(f"cannot save {sys.argv[2]}: the disk is full; nothing was written."), error
else:
    raise AssertionError("it was written")
"""


def test_a_full_disk_is_no_damaged_checkpoint(tmp_path: Path) -> None:
    """Where the reader cannot write, it is the disk that is named, and nothing is left behind."""
    torch.save({"a": torch.zeros(5000)}, tmp_path / "x.pt")
    words = [sys.executable, "-c", FULL, str(tmp_path / "x.pt"), str(tmp_path / "o.safetensors")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
