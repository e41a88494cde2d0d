"""What the checks of kinds of checkpoints need: a writer for each kind, of the same few tensors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file

Arrays = dict[str, npt.NDArray[np.float32]]


def make_arrays() -> Arrays:
    """Three tensors with different numbers of axes."""
    random = np.random.default_rng(0)
    shapes = {"a": (6, 64), "b": (64,), "c": (2, 3, 32)}
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def write_npz(path: Path, arrays: Arrays) -> None:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def write_hdf5(path: Path, arrays: Arrays) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value


def write_onnx(path: Path, arrays: Arrays) -> None:
    import onnx

    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], initializers)), path)


def write_gguf(path: Path, arrays: Arrays) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    for name, value in arrays.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_pytorch(path: Path, arrays: Arrays) -> None:
    torch.save({name: torch.from_numpy(value) for name, value in arrays.items()}, path)


def write_pickled(path: Path, arrays: Arrays) -> None:
    path.write_bytes(pickle.dumps(arrays))


WRITERS: dict[str, Callable[[Path, Arrays], None]] = {
    "gguf": write_gguf, "hdf5": write_hdf5, "npz": write_npz, "onnx": write_onnx, "pickled": write_pickled,
    "pytorch": write_pytorch, "safetensors": lambda path, arrays: save_file(dict(arrays), path),
}  # fmt: skip
"""A writer for each kind; a new one needs an entry."""
