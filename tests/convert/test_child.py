"""Checkpoints as people's trainers write them, and as nobody should, read without the process around it."""

from __future__ import annotations

import argparse
import bz2
import datetime
import gzip
import io
import json
import lzma
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zstandard
from safetensors.torch import load_file, save_file

from bytecap.convert.child import convert_files, main, read_tables
from bytecap.convert.job import WEIGHTS
from bytecap.core.errors import BytecapError, DataError


class Net(torch.nn.Module):
    """A module with tied weights and buffers of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(5, 4)
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)])
        self.head = torch.nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.ones(3), persistent=False)


def converted(path: Path, root: Any, key: str | None = None, **how: Any) -> tuple[dict[str, torch.Tensor], Any]:
    """Tensors and reply of a file that holds `root`."""
    torch.save(root, path / "x.pt", **how)
    reply = convert_files({str(path / "x.pt"): None}, key, path)
    return load_file(path / WEIGHTS), reply


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_checkpoint_of_a_data_parallel_trainer(tmp_path: Path, zipped: bool) -> None:
    """A data-parallel model with its optimizer, tied weights, half precision."""
    model = Net().half()
    weights = {f"module.{name}": value for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters()).state_dict()
    root = {"model": weights, "optimizer": optimizer, "epoch": 3, "best": torch.tensor(0.5)}
    found, reply = converted(tmp_path, root, _use_new_zipfile_serialization=zipped)
    assert set(found) == set(model.state_dict())
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    assert reply["key"] == "model" and reply["renamed"] == reply["tensors"] == len(found)
    assert set(reply["left_out"]) == {"optimizer", "epoch", "best"}


def test_objects_of_other_classes(tmp_path: Path) -> None:
    """Settings, paths, numpy scalars and dates beside weights are named and left out; their classes are not called."""
    root = {
        "state_dict": Net().state_dict(), "args": argparse.Namespace(lr=0.1), "path": Path("x"), "loss": np.float64(3),
        "when": datetime.datetime(2026, 1, 1), "history": {"loss": np.float32(1)}, "set": {1, 2},
    }  # fmt: skip
    found, reply = converted(tmp_path, root)
    assert set(found) == set(Net().state_dict()) and set(reply["left_out"]) == set(root) - {"state_dict"}
    found, reply = converted(tmp_path, {**Net().state_dict(), "loss": np.float64(3), "args": argparse.Namespace(x=1)})
    assert set(reply["left_out"]) == {"loss", "args"} and "argparse.Namespace" in reply["left_out"].values()


def test_a_module_saved_whole(tmp_path: Path) -> None:
    """Its parameters and the buffers that its state_dict has."""
    net = Net()
    for root, key in ((net, "."), ({"model": net, "epoch": 3}, "model")):
        found, reply = converted(tmp_path, root)
        assert set(found) == set(net.state_dict()) and reply["key"] == key
        assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (argparse.Namespace(inner=np.ones((2, 2))), "Namespace.*not a tensor; store it as a plain tensor"),
        (argparse.Namespace(inner=[{"w": torch.ones(2)}]), "Namespace with numbers in it"),
    ],
)
def test_weights_in_other_objects(tmp_path: Path, value: Any, said: str) -> None:
    """What would be lost is refused by name."""
    with pytest.raises(DataError, match=f"odd is an object of .*{said}"):
        converted(tmp_path, {"w": torch.ones(2, 2), "odd": value})


def test_saved_on_a_gpu(tmp_path: Path) -> None:
    """Tensors that were on another device."""
    torch.save({"w": torch.ones(4, 4)}, tmp_path / "cpu.pt")
    with zipfile.ZipFile(tmp_path / "cpu.pt") as source, zipfile.ZipFile(tmp_path / "gpu.pt", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    convert_files({str(tmp_path / "gpu.pt"): None}, None, tmp_path)
    assert torch.equal(load_file(tmp_path / WEIGHTS)["w"], torch.ones(4, 4))


def test_shards_hold_what_the_index_names(tmp_path: Path) -> None:
    """Of both kinds, only what the index names, and empty tensors are left out."""
    save_file({"a": torch.ones(2, 2), "other": torch.ones(1)}, tmp_path / "1.safetensors")
    torch.save({"b": torch.zeros(3), "none": torch.zeros(0)}, tmp_path / "2.bin")
    files = {str(tmp_path / "1.safetensors"): ["a"], str(tmp_path / "2.bin"): ["b", "none"]}
    reply = convert_files(files, None, tmp_path)
    assert set(load_file(tmp_path / WEIGHTS)) == {"a", "b"} and reply["left_out"]["none"] == "empty tensor"
    with pytest.raises(DataError, match="lacks c, which the index says"):
        convert_files({str(tmp_path / "2.bin"): ["b", "c"]}, None, tmp_path)


class Evil:
    """Runs a program where it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.how = call, arguments

    def __reduce__(self) -> Any:
        return self.how


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_not_run(tmp_path: Path, legacy: bool) -> None:
    """What a file wants called is called by nobody."""
    mark = tmp_path / "mark"
    for evil in (Evil(os.system, f"touch {mark}"), Evil(eval, f"open({str(mark)!r}, 'w')"), Evil(Path.touch, mark)):
        torch.save({"w": torch.ones(2, 2), "evil": evil}, tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
        try:
            convert_files({str(tmp_path / "x.pt"): None}, None, tmp_path)
        except DataError as error:
            assert "cannot be read as a PyTorch checkpoint" in str(error)
        assert not mark.exists()


def files_of_other_kinds(folder: Path) -> list[Path]:
    """What people may take for checkpoints."""
    torch.save({"w": torch.ones(64, 64)}, folder / "whole.pt")
    whole = (folder / "whole.pt").read_bytes()
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    with zipfile.ZipFile(folder / "whole.pt") as source, zipfile.ZipFile(folder / "z.pt", "w", 8) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    contents = {
        "empty": b"", "text": b"hello\n", "zeros": bytes(5000), "cut": whole[: len(whole) // 2],
        "script": script.getvalue(),
        "plain": pickle.dumps({"w": [1, 2]}), "gguf": b"GGUF" * 99,
        "stop": b"\x80\x02.", "memo": b"\x80\x02h\x05.", "zip": (folder / "z.pt").read_bytes(),
        "flipped": bytes(b ^ (i % 97 == 5) for i, b in enumerate(whole)),
    }  # fmt: skip
    for name, data in contents.items():
        (folder / f"{name}.pt").write_bytes(data)
    return [folder / f"{name}.pt" for name in contents]


@pytest.mark.filterwarnings("ignore")
def test_files_of_other_kinds(tmp_path: Path) -> None:
    """One sentence each."""
    for path in files_of_other_kinds(tmp_path):
        with pytest.raises(BytecapError) as caught:
            convert_files({str(path): None}, None, tmp_path)
        assert str(path) in str(caught.value) or "no weights with names" in str(caught.value), path


def packed_files(folder: Path) -> dict[str, Path]:
    """Weights behind every compressor, and in archives; what each is said to be."""
    save_file({"w": torch.ones(3, 4)}, folder / "w.safetensors")
    data = (folder / "w.safetensors").read_bytes()
    compressed = {
        "gzip": gzip.compress(data), "xz": lzma.compress(data), "bzip2": bz2.compress(data),
        "zstd": zstandard.ZstdCompressor().compress(data), "lz4": bytes.fromhex("04224d1864a7") + data,
    }  # fmt: skip
    for name, content in compressed.items():
        (folder / f"w.safetensors.{name}").write_bytes(content)
    with zipfile.ZipFile(folder / "w.zip", "w") as archive:
        archive.write(folder / "w.safetensors", "deep/w.safetensors")
    with tarfile.open(folder / "w.tar", "w") as tar:
        tar.add(folder / "w.safetensors", "deep/w.safetensors")
    said = {f"is compressed with {name}; unpack it": folder / f"w.safetensors.{name}" for name in compressed}
    archive_said = "is an archive of files, such as deep/w.safetensors; unpack it"
    return said | {archive_said: folder / "w.zip", f"w.tar {archive_said}": folder / "w.tar"}


def test_packed_files_are_told_as_such(tmp_path: Path) -> None:
    """Neither a compressed file nor an archive is called a damaged checkpoint."""
    for said, path in packed_files(tmp_path).items():
        with pytest.raises(DataError, match=said):
            read_tables(path)


def test_not_a_state(tmp_path: Path) -> None:
    """Tensors without names, and nothing at all."""
    for root in (torch.ones(2, 2), {}, {"w": torch.zeros(0, 3)}):
        torch.save(root, tmp_path / "x.pt")
        with pytest.raises(DataError):
            convert_files({str(tmp_path / "x.pt"): None}, None, tmp_path)
    assert read_tables(tmp_path / "x.pt")[1]["w"].shape == (0, 3)


def test_reply_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with a file is the reply, not an end of the process."""
    (tmp_path / "x.pt").write_bytes(b"x")
    monkeypatch.setattr("bytecap.convert.child.confine", lambda folder, most: None)
    main(json.dumps({"files": {str(tmp_path / "x.pt"): None}, "key": None, "folder": str(tmp_path)}))
    reply = json.loads((tmp_path / "reply.json").read_text())
    assert reply["error"]["kind"] == "DataError"
