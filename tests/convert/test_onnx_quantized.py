"""Quantized weights of ONNX graphs: the numbers of each are those that ONNX's own evaluator computes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.torch import load_file

from bytecap.convert.child import convert_files, read_tables
from bytecap.convert.dequantize import dequantize
from bytecap.convert.tables import flatten
from bytecap.core.errors import DataError

random = np.random.default_rng(0)


def save(path: Path, arrays: dict[str, Any], *nodes: Any) -> Path:
    """A graph of these initializers and nodes, as a file."""
    tensors = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
        for name, value in arrays.items()
    ]
    onnx.save(helper.make_model(helper.make_graph(list(nodes), "g", [], [], tensors)), path / "x.onnx")
    return path / "x.onnx"


def numbers(path: Path) -> dict[str, torch.Tensor]:
    """All weights of a file as the numbers they stand for."""
    return dequantize(flatten(read_tables(path)[1])[0], {})[0]


def dequantized(integers: Any, scale: Any, zero: Any, axis: int) -> Any:
    """What the operator DequantizeLinear of ONNX's reference makes of them."""
    node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"], axis=axis)
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xsz"]
    for info, value in zip(given, (integers, scale, zero), strict=True):
        info.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(value.dtype)
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", given, result)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    found: Any = ReferenceEvaluator(model).run(None, {"x": integers, "s": scale, "z": zero})
    return found[0]


def bytes_of(*shape: int, signed: bool = False) -> Any:
    """Random integers of 8 bits."""
    return random.integers(-128, 128, shape).astype(np.int8) if signed else random.integers(0, 256, shape, np.uint8)


def floats(*shape: int) -> Any:
    """Random scales."""
    return random.uniform(0.01, 0.1, shape).astype(np.float32)


CASES: dict[str, tuple[list[str], dict[str, Any], int, tuple[int, ...]]] = {
    "DequantizeLinear": (["w", "w_s", "w_z"], {"axis": 0}, 0, (5, 4)),
    "ConvInteger": (["x", "w", "x_z", "w_z"], {}, 0, (5, 2, 3, 3)),
    "MatMulInteger": (["x", "w", "x_z", "w_z"], {}, 1, (4, 5)),
    "MatMulIntegerToFloat": (["x", "w", "x_s", "w_s", "x_z", "w_z"], {}, 1, (4, 5)),
    "DynamicQuantizeMatMul": (["x", "w", "w_s", "w_z"], {}, 1, (4, 5)),
    "QLinearConv": (["x", "x_s", "x_z", "w", "w_s", "w_z", "y_s", "y_z"], {}, 0, (5, 2, 3)),
    "QLinearMatMul": (["x", "x_s", "x_z", "w", "w_s", "w_z", "y_s", "y_z"], {}, 1, (4, 5)),
    "QGemm": (["x", "x_s", "x_z", "w", "w_s", "w_z"], {"transB": 1}, 0, (5, 4)),
    "QAttention": (["x", "w", "b", "x_s", "w_s", "m", "x_z", "w_z"], {}, 1, (4, 5)),
}


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("operator", CASES)
def test_weights_are_found_by_their_use(operator: str, one: bool, tmp_path: Path) -> None:
    """With one scale or one for each output, under the quantizer's names and, where the graph says them, any other."""
    inputs, given, axis, shape = CASES[operator]
    count = () if one else (5,)
    integers, scale, zero = bytes_of(*shape), floats(*count), bytes_of(*count)
    names = {"w": "layer.w_quantized", "w_s": "layer.w_scale" if "Integer" in operator else "s", "w_z": "z"}
    node = helper.make_node(operator, [names.get(name, name) for name in inputs], ["y"], **given)
    arrays = {"layer.w_quantized": integers, names["w_s"]: scale, "z": zero, "bias": floats(7), "shape": np.arange(3)}
    found = numbers(save(tmp_path, arrays, node))
    assert set(found) == {"layer.w", "bias"}
    assert np.array_equal(found["layer.w"].numpy(), dequantized(integers, scale, zero, axis))


@pytest.mark.parametrize("columns", [True, False])
def test_recurrent_weights(columns: bool, tmp_path: Path) -> None:
    """Each direction has its scale, or each column of each."""
    w, r = bytes_of(2, 3, 8, signed=True), bytes_of(2, 2, 8, signed=True)
    shape = (2, 8) if columns else (2,)
    parts = [floats(*shape), np.zeros(shape, np.int8), floats(*shape), np.zeros(shape, np.int8)]
    names = ["ws", "wz", "rs", "rz"]
    node = helper.make_node("DynamicQuantizeLSTM", ["x", "w", "r", "b", "", "h", "c", "", *names], ["y"])
    found = numbers(save(tmp_path, {"w": w, "r": r, **dict(zip(names, parts, strict=True))}, node))
    for stem, integers, scale in (("w", w, parts[0]), ("r", r, parts[2])):
        for place in np.ndindex(integers.shape):
            one = scale[place[0], place[2]] if columns else scale[place[0]]
            assert found[stem][place] == np.float32(integers[place]) * one


def test_four_bits_subgraphs_and_shared_scales(tmp_path: Path) -> None:
    """Integers in a branch, of four bits, with a scale that an outer graph holds for two weights."""
    four = helper.make_tensor("four", TensorProto.INT4, (2, 3), [-8, 7, 0, 1, -1, 3])
    inner = helper.make_graph([helper.make_node("DequantizeLinear", ["four", "s"], ["y"])], "b", [], [], [four])
    branch = helper.make_node("If", ["c"], ["o"], name="choose", then_branch=inner)
    outer = helper.make_node("DequantizeLinear", ["w", "s"], ["y"])
    found = numbers(save(tmp_path, {"w": bytes_of(2, 3), "s": np.float32(0.5)}, branch, outer))
    assert set(found) == {"w", "choose.then_branch.four"}
    assert found["choose.then_branch.four"].tolist() == [[-4.0, 3.5, 0.0], [0.5, -0.5, 1.5]]


def test_integers_are_kept_unless_asked(tmp_path: Path) -> None:
    """`convert` writes them with their scales and says so; no weight is left out."""
    node = helper.make_node("MatMulInteger", ["x", "w_quantized", "", "w_zero_point"], ["y"])
    path = save(
        tmp_path, {"w_quantized": bytes_of(9, 4), "w_scale": floats(), "w_zero_point": bytes_of(), "v": floats(3)}, node
    )
    reply = convert_files({str(path): None}, None, tmp_path)
    assert reply["quantized"] == ["ONNX, integers with scales"] and reply["left_out"] == {}
    assert set(load_file(tmp_path / "weights.safetensors")) == {"w_quantized", "w_scale", "w_zero_point", "v"}
    reply = convert_files({str(path): None}, None, tmp_path, {})
    assert reply["dequantized"] == {"ONNX, integers with scales": 1} and reply["numbers"] == 39


@pytest.mark.parametrize(
    ("operator", "inputs", "given", "said"),
    [
        ("MatMulNBits", ["x", "w", "s"], {}, "packed for MatMulNBits"),
        ("MatMulInteger", ["x", "w"], {}, "the scale of the quantized weight w is computed or missing"),
        ("DequantizeLinear", ["w", "s"], {"axis": 1}, r"scales of shape \(5,\) for the quantized weight w"),
        ("DequantizeLinear", ["w", "s"], {"axis": 7}, r"scales of shape \(5,\) for the quantized weight w"),
        ("DequantizeLinear", ["w", "s"], {"axis": 0, "block_size": 2}, "for the quantized weight w of shape"),
        ("DynamicQuantizeLSTM", ["x", "w", "w", *[""] * 5, "s", "", "s"], {}, "for the quantized weight w of shape"),
    ],
)
def test_what_is_not_read(operator: str, inputs: list[str], given: dict[str, Any], said: str, tmp_path: Path) -> None:
    """Refused by name, never left out."""
    path = save(tmp_path, {"w": bytes_of(5, 4), "s": floats(5)}, helper.make_node(operator, inputs, ["y"], **given))
    with pytest.raises(DataError, match=said):
        read_tables(path)


def test_activations_are_none(tmp_path: Path) -> None:
    """What is computed is no weight, wherever its scales are stored; the largest of what is left out comes first."""
    node = helper.make_node("DequantizeLinear", ["computed", "s", "z"], ["y"])
    arrays = {"s": floats(2), "z": bytes_of(2), "table": np.arange(9), "w": floats(2, 2)}
    tensors, left = flatten(read_tables(save(tmp_path, arrays, node))[1])
    assert set(tensors) == {"s", "w"}
    assert list(left.items()) == [("table", "9 numbers of int64"), ("z", "2 numbers of uint8")]
