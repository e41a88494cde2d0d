"""Archives of NumPy: layouts, types, objects, headers that lie."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bytecap.convert.child import read_tables
from bytecap.convert.tables import flatten
from bytecap.core.errors import DataError


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors, and what is left out."""
    return flatten(read_tables(path)[1])


def test_layouts_and_types(tmp_path: Path) -> None:
    """Column order, other byte order, halves, integers and no axes keep their numbers; text is left out."""
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays: dict[str, Any] = {
        "f": np.asfortranarray(a), "big": a.astype(">f4"), "half": a.astype("f2"), "int": a.astype("i8"),
        "one": np.float64(3), "empty": a[:0], "strided": a[:, ::2],
    }  # fmt: skip
    np.savez(tmp_path / "x.npz", **arrays, text=np.array("hello"))
    found, left = read(tmp_path / "x.npz")
    assert all(np.array_equal(found[name].numpy(), value) for name, value in arrays.items())
    assert found["half"].dtype == torch.float16 and list(left) == ["text"]


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    """An array of objects is refused by name before its bytes are looked at."""
    np.savez(tmp_path / "x.npz", fine=np.ones(3), odd=np.array([print, {}], dtype=object))
    with pytest.raises(DataError, match="array odd holds Python objects"):
        read(tmp_path / "x.npz")


def header(shape: str, descr: str = "'<f4'") -> bytes:
    """The start of an array."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (header("(" + "1," * 5000 + ")") + b"1234", "cannot be read as an archive of NumPy|5,000 axes"),
        (header("(" + "1," * 300 + ")") + b"1234", "300 axes"),
        (header("(1000000000, 1000000000, 1000000000)"), "takes more bytes than a file of this size"),
        (header("(-5, 7)") + bytes(64), "a size below 0"),
        (header("(20, 20)") + bytes(64), "cannot be read as"),
        (header("__import__('os').getpid()"), "cannot be read as"),
        (header("(2,)", "[('a', '<f4'), ('b', 'O')]"), "Python objects"),
        (header("(2,)", "[('a', '<f4'), ('b', '<i4')]") + bytes(16), "no tensor can hold"),
        (header("(2,)", "'<c16'") + bytes(32), ""),
        (b"no array", "cannot be read as"),
    ],
)
def test_headers_that_lie(data: bytes, said: str, tmp_path: Path) -> None:
    """One sentence each, and no memory is taken."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("w.npy", data)
    if not said:
        assert read(tmp_path / "x.npz")[0]["w"].is_complex()  # refused where it is written out
        return
    with pytest.raises(DataError, match=said):
        read(tmp_path / "x.npz")


def test_compressed_beyond_belief(tmp_path: Path) -> None:
    """A hundred megabytes of zeros in a hundred kilobytes."""
    inner = io.BytesIO()
    np.save(inner, np.zeros(25_000_000, np.float32))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", inner.getvalue())
    with pytest.raises(DataError, match="compressed beyond what weights can be"):
        read(tmp_path / "x.npz")
