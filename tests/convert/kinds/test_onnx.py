"""Initializers of ONNX: types, subgraphs, data in other files."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from bytecap.convert.child import convert_files, read_tables
from bytecap.convert.tables import flatten
from bytecap.core.errors import DataError

W = np.arange(12, dtype=np.float32).reshape(3, 4)


def save(path: Path, tensors: list[Any], nodes: tuple[Any, ...] = ()) -> Path:
    """A model with nothing but these."""
    onnx.save(helper.make_model(helper.make_graph(list(nodes), "g", [], [], tensors)), path / "x.onnx")
    return path / "x.onnx"


def test_types_and_subgraphs(tmp_path: Path) -> None:
    """Halves and bfloat16 keep their type, a branch has its weights in constants, integers stay out."""
    half = numpy_helper.from_array(W.astype(np.float16), "half")
    bf16 = helper.make_tensor("bf16", TensorProto.BFLOAT16, (2,), [1.0, 2.5])
    listed = helper.make_tensor("listed", TensorProto.FLOAT, (3, 4), W.flatten())
    shape = numpy_helper.from_array(np.array([1, 2]), "shape")
    constant = helper.make_node("Constant", [], ["inner"], value=numpy_helper.from_array(W))
    one = helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(W[0, :1]))
    branch = helper.make_graph([constant, one], "b", [], [])
    both = helper.make_node("If", ["c"], ["o"], name="choose", then_branch=branch, else_branch=branch)
    tensors, left = flatten(read_tables(save(tmp_path, [half, bf16, listed, shape], (both,)))[1])
    assert set(tensors) == {"half", "bf16", "listed", "choose.then_branch.inner", "choose.else_branch.inner"}
    assert tensors["half"].dtype == torch.float16 and tensors["bf16"].tolist() == [1.0, 2.5]
    assert tensors["bf16"].dtype == torch.bfloat16 and left == {"shape": "2 numbers of int64"}
    assert all(np.array_equal(tensors[n].float().numpy(), W) for n in ("half", "listed", "choose.then_branch.inner"))


def external(location: str, dims: tuple[int, ...] = (3, 4), offset: int = 0) -> Any:
    """A tensor that lies elsewhere."""
    tensor = TensorProto(name="w", dims=dims, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value=str(offset))
    return tensor


def test_external_data(tmp_path: Path) -> None:
    """A plain file beside the model is read; anything else is refused."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "secret").write_bytes(bytes(100))
    folder = tmp_path / "sub"
    (folder / "x.onnx.data").write_bytes(bytes(8) + W.tobytes())
    tensors, _ = flatten(read_tables(save(folder, [external("x.onnx.data", offset=8)]))[1])
    assert np.array_equal(tensors["w"].numpy(), W)
    (folder / "link").symlink_to(tmp_path / "secret")
    for location in ("../secret", str(tmp_path / "secret"), "link", "", "none", ".."):
        with pytest.raises(DataError, match="no plain file beside the model"):
            read_tables(save(folder, [external(location)]))
    for offset in (9, -4, 1 << 70):
        with pytest.raises(DataError, match="ends before the numbers of tensor w"):
            read_tables(save(folder, [external("x.onnx.data", offset=offset)]))


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (TensorProto(name="w", dims=[1] * 5000, data_type=1, raw_data=bytes(4)), "5,000 axes"),
        (TensorProto(name="w", dims=[1 << 30, 1 << 30], data_type=1, raw_data=bytes(4)), "takes more bytes"),
        (TensorProto(name="w", dims=[3, 4], data_type=1, raw_data=bytes(4)), "cannot be read as an ONNX model"),
        (TensorProto(name="w", dims=[-3], data_type=1, raw_data=bytes(4)), "a size below 0"),
        (TensorProto(name="w", dims=[3], data_type=99, raw_data=bytes(4)), "cannot be read as an ONNX model"),
    ],
)
def test_hostile_tensors(tensor: Any, said: str, tmp_path: Path) -> None:
    """One sentence each."""
    with pytest.raises(DataError, match=said):
        read_tables(save(tmp_path, [tensor]))


def test_nothing_in_it(tmp_path: Path) -> None:
    """Integers alone are no weights, and no key is spoken of that nobody gave."""
    shape = numpy_helper.from_array(np.array([1, 2]), "shape")
    with pytest.raises(DataError, match="holds no weights with names, but a table of shape"):
        convert_files({str(save(tmp_path, [shape])): None}, None, tmp_path)


def test_names_twice_and_sparse(tmp_path: Path) -> None:
    """What would be lost is refused."""
    w = numpy_helper.from_array(W, "w")
    with pytest.raises(DataError, match="two tensors called w"):
        read_tables(save(tmp_path, [w, w]))
    graph = helper.make_graph([], "g", [], [], sparse_initializer=[onnx.SparseTensorProto()])
    onnx.save(helper.make_model(graph), tmp_path / "s.onnx")
    with pytest.raises(DataError, match="sparse initializers"):
        read_tables(tmp_path / "s.onnx")
