"""The checkpoints of others that benchmarks compare on: ONNX graphs as modules, and what plain rounding costs."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from public_models.onnx_graph import OnnxGraph
from real_checkpoints import plain

DRAW = np.random.default_rng(0)


def save(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: list[int]) -> Path:
    """An ONNX file with one input `x` and one output `y`."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    wanted = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "graph", [given], [wanted], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), path)
    return path


def floats(*shape: int) -> np.ndarray:
    """Numbers around zero."""
    return DRAW.normal(size=shape).astype(np.float32)


def agrees(path: Path, shape: list[int], last: str = "") -> bool:
    """The module gives what onnxruntime does, up to the logits of a probability."""
    x = floats(*shape)
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"x": x})
    with torch.no_grad():
        found = OnnxGraph(path)(torch.from_numpy(x))
    return np.allclose(wanted, getattr(found, last)().numpy() if last else found.numpy(), atol=1e-5)


def test_convolutions_of_every_kind(tmp_path: Path) -> None:
    """Uneven padding, groups, a transposed one, norms with running statistics that are no parameters, a probability."""
    nodes = [
        helper.make_node("Conv", ["x", "grouped", "bias"], ["a"], auto_pad="SAME_UPPER", strides=[2, 1], group=2),
        helper.make_node("BatchNormalization", ["a", "bias", "scale", "mean", "variance"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["c", "transposed"], ["d"], strides=[2, 2]),
        helper.make_node("Sigmoid", ["d"], ["y"]),
    ]
    weights = {"grouped": floats(12, 4, 3, 4), "bias": floats(12), "scale": floats(12), "mean": floats(12)}
    weights |= {"variance": floats(12) ** 2, "transposed": floats(12, 3, 2, 2)}
    path = save(tmp_path / "net.onnx", nodes, weights, [2, 8, 9, 10])
    assert agrees(path, [2, 8, 9, 10], "sigmoid")
    assert {name for name, _ in OnnxGraph(path).named_parameters()} == weights.keys() - {"mean", "variance"}


def test_gru_in_both_directions(tmp_path: Path) -> None:
    """Both directions, packed gates in tensors of three axes."""
    node = helper.make_node(
        "GRU", ["x", "w", "r", "b"], ["y"], hidden_size=5, direction="bidirectional", linear_before_reset=1
    )
    weights = {"w": floats(2, 15, 6), "r": floats(2, 15, 5), "b": floats(2, 30)}
    assert agrees(save(tmp_path / "gru.onnx", [node], weights, [7, 3, 6]), [7, 3, 6])


def test_plain_stores_equal_tensors_once() -> None:
    """A second name costs nothing, and rows of experts have scales of their own."""
    weight = torch.from_numpy(floats(32, 64))
    once, _ = plain({"a": weight}, 4)
    twice, rounded = plain({"a": weight, "b": weight.clone()}, 4)
    assert once == twice and torch.equal(rounded["a"], rounded["b"])
    _, experts = plain({"a": torch.stack((weight, 100 * weight)).transpose(0, 1).contiguous()}, 8)
    assert float((experts["a"][:, 0] - weight).norm() / weight.norm()) < 0.01
