"""Weights of Keras, and files that send their reader elsewhere."""

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from bytecap.convert.child import convert_files, read_tables
from bytecap.convert.tables import flatten
from bytecap.core.errors import DataError

W = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_layouts_of_keras(tmp_path: Path) -> None:
    """Groups nest, chunks are compressed, the optimizer stays out; the same inside the zip of Keras 3."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["model_weights/dense/kernel:0"] = W
        file.create_dataset("model_weights/dense/bias:0", data=W[0], chunks=(2,), compression="gzip")
        file["optimizer_weights/m"] = W
        file["note"] = "text"
    reply = convert_files({str(tmp_path / "x.h5"): None}, None, tmp_path)
    assert reply["tensors"] == 2 and reply["key"] == "."
    assert reply["left_out"] == {"optimizer_weights": "an optimizer's state", "note": "HDF5 object"}
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as archive:
        archive.write(tmp_path / "x.h5", "model.weights.h5")
        archive.writestr("config.json", "{}")
    tensors, _ = flatten(read_tables(tmp_path / "x.keras")[1])
    assert np.array_equal(tensors["model_weights.dense.kernel:0"].numpy(), W)
    with zipfile.ZipFile(tmp_path / "y.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(DataError, match=r"a zip without model\.weights\.h5"):
        read_tables(tmp_path / "y.keras")


def other(folder: Path) -> Path:
    """A file that others lead to."""
    with h5py.File(folder / "secret.h5", "w") as file:
        file["w"] = W
    (folder / "secret.bin").write_bytes(bytes(48))
    return folder / "secret.h5"


def write_external_link(file: h5py.File, folder: Path) -> None:
    file["w"] = h5py.ExternalLink(str(other(folder)), "/w")


def write_soft_link(file: h5py.File, folder: Path) -> None:
    file["w"] = h5py.SoftLink("/elsewhere")


def write_external_storage(file: h5py.File, folder: Path) -> None:
    other(folder)
    file.create_dataset("w", (3, 4), "f4", external=[(str(folder / "secret.bin"), 0, 48)])


def write_virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource(str(other(folder)), "w", (3, 4))
    file.create_virtual_dataset("w", layout)


def write_circle(file: h5py.File, folder: Path) -> None:
    file.create_group("a/b")
    file["a/b/a"] = file["a"]


def write_depth(file: h5py.File, folder: Path) -> None:
    file["/".join("g" * 60) + "/w"] = W


def write_nothing_much(file: h5py.File, folder: Path) -> None:
    file.create_dataset("w", (1 << 40,), "f4", chunks=(1024,))


def write_complex(file: h5py.File, folder: Path) -> None:
    file["w"] = np.zeros(3, [("x", "f4"), ("y", "i8")])


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_external_link, "w is a link to another place or file"),
        (write_soft_link, "w is a link to another place or file"),
        (write_external_storage, "lies in another file"),
        (write_virtual, "lies in another file"),
        (write_circle, "leads back to itself"),
        (write_depth, "too deep"),
        (write_nothing_much, "takes more bytes than a file of this size"),
        (write_complex, "no tensor can hold"),
    ],
)
def test_hostile_files(write: object, said: str, tmp_path: Path) -> None:
    """Nothing is followed, nothing is taken."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write(file, tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=said):
        read_tables(tmp_path / "x.h5")
