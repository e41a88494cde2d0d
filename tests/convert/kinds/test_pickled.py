"""Pickles: arrays of every protocol and layout, tensors, and what a hostile file names, which is never called."""

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from bytecap.convert.child import convert_files, read_tables
from bytecap.convert.job import WEIGHTS
from bytecap.convert.tables import flatten
from bytecap.core.errors import DataError

MARK = "called.txt"


class Calls:
    """Unpickled as usual, it writes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return Path.write_text, (self.place / MARK, "called")


def write(value: object, path: Path, protocol: int) -> Path:
    """A pickle of that protocol."""
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors, and what is left out."""
    return flatten(read_tables(path)[1])


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    """Columns first, other byte order, strided, no axes, empty; in ordered and default tables, lists and tuples."""
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    shared = np.ones((2, 2))
    made = collections.defaultdict(list, {"list": [a, (shared, shared)], "text": np.array("hello")})
    table = collections.OrderedDict(
        f=np.asfortranarray(a), big=a.astype(">f4"), half=a.astype("f2"), int=a.astype("i8"),
        bool=a > 3, one=np.array(3.0), empty=a[:0], strided=a[:, ::2], made=made, scalar=np.float64(3),
    )  # fmt: skip
    found, left = read(write(table, tmp_path / "x.pkl", protocol))
    wanted: dict[str, Any] = {**table, "made.list.0": a, "made.list.1.0": shared, "made.list.1.1": shared}
    assert set(found) == set(wanted) - {"made", "scalar"}
    assert all(np.array_equal(value.numpy(), wanted[name]) for name, value in found.items())
    assert set(left) == {"scalar", "made.text"}


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    """Bytes are text there."""
    data = (
        b"(dp0\nS'w'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
        b"(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nb"
        b"I00\nS'\\x00\\x00\\x80?\\x00\\x00\\x00\\xc0'\np15\ntp16\nbs."
    )
    (tmp_path / "x.pkl").write_bytes(data)
    assert read(tmp_path / "x.pkl")[0]["w"].tolist() == [1.0, -2.0]


def test_tensors_and_files_of_torch(tmp_path: Path) -> None:
    """A state dict that was pickled plainly, and what `torch.save` writes under this suffix, old and new."""
    state = torch.nn.Linear(3, 4).state_dict()
    write(state, tmp_path / "plain.pkl", 4)
    torch.save(state, tmp_path / "zip.pkl")
    torch.save(state, tmp_path / "old.pickle", _use_new_zipfile_serialization=False)
    for path in tmp_path.iterdir():
        found = read(path)[0]
        assert {name: value.tolist() for name, value in found.items()} == {n: v.tolist() for n, v in state.items()}


def test_arrays_in_a_checkpoint_of_torch(tmp_path: Path) -> None:
    """They are weights like any; a plain pickle under a name of PyTorch's is read too."""
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    torch.save({"state": {"w": a, "v": torch.ones(3)}, "step": np.int64(3)}, tmp_path / "x.pt")
    write({"w": a}, tmp_path / "y.bin", 4)
    for name in ("x.pt", "y.bin"):
        said = convert_files({str(tmp_path / name): None}, None, tmp_path)
        assert np.array_equal(load_file(tmp_path / WEIGHTS)["w"], a)
        assert said["left_out"] == ({"step": "numpy._core.multiarray.scalar"} if name == "x.pt" else {})


def test_nothing_is_called(tmp_path: Path) -> None:
    """What a file names stays a name, the numbers beside it are read, and arrays inside foreign objects are no loss."""
    path = write({"w": np.ones((2, 2)), "calls": Calls(tmp_path)}, tmp_path / "x.pkl", 4)
    found, left = read(path)
    assert found["w"].sum() == 4 and "calls" in left and not (tmp_path / MARK).exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / MARK).exists()  # so the file does call something

    write({"w": np.ones((2, 2)), "holder": np.random.RandomState(0)}, path, 4)
    with pytest.raises(DataError, match=r"holder is an object of numpy.* with numbers in it"):
        read(path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"odd": np.array([print, {}], dtype=object)}, "array odd holds Python objects or records"),
        ({"odd": np.zeros(2, [("a", "f4")])}, "array odd holds Python objects or records"),
        ({"odd": np.zeros(2, "c16")}, ""),
    ],
)
def test_arrays_that_are_no_numbers(value: Any, said: str, tmp_path: Path) -> None:
    """One sentence each."""
    path = write(value, tmp_path / "x.pkl", 4)
    if not said:
        assert read(path)[0]["odd"].is_complex()  # refused where it is written out
        return
    with pytest.raises(DataError, match=said):
        read(path)
