"""Which initializers of an ONNX graph are the integers, scales and zero points of a quantized weight.

In:   a graph.
Out:  new names for such initializers, which say to which weight they belong, with shapes that multiply its numbers.
Source:  the operators of ONNX 1.23 and of onnxruntime's `com.microsoft` domain (ContribOperators.md), whose quantizer
calls the parts of a weight `w` `w_quantized`, `w_scale` and `w_zero_point`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bytecap.core.errors import DataError

INTEGERS, SCALE, ZERO_POINT = "_quantized", "_scale", "_zero_point"
"""Ends of the names of a weight's parts."""
PACKED = ("MatMulNBits", "GatherBlockQuantized", "MatMulBnb4", "MatMulFpQ4", "QMoE")
"""Operators whose weights are packed in layouts that are not read."""
Shape = tuple[int, ...]
Renames = dict[str, list[tuple[str, Shape]]]
"""By the name of an initializer with its path: what it is called as a part of each weight, and its shape there."""


@dataclass(frozen=True)
class Places:
    """Which inputs of an operator are a weight, its scale and its zero point, and the axis of a scale for each output.

    Without `scale` the scale is no input; it is called as the weight.
    """

    weight: int
    scale: int | None
    zero: int
    axis: int


OPERATORS: dict[str, tuple[Places, ...]] = {
    "DequantizeLinear": (Places(0, 1, 2, 1),),
    "ConvInteger": (Places(1, None, 3, 0),),
    "MatMulInteger": (Places(1, None, 3, -1),),
    "MatMulIntegerToFloat": (Places(1, 3, 5, -1),),
    "DynamicQuantizeMatMul": (Places(1, 2, 3, -1),),
    "QLinearConv": (Places(3, 4, 5, 0),),
    "QLinearMatMul": (Places(3, 4, 5, -1),),
    "QGemm": (Places(3, 4, 5, -1),),
    "QAttention": (Places(1, 4, 7, -1),),
    "DynamicQuantizeLSTM": (Places(1, 8, 9, 0), Places(2, 10, 11, 0)),
}


def find_parts(graph: Any) -> Renames:
    """The parts of all quantized weights of the graph and of those in it; DataError for a layout that is not read."""
    found: Renames = {}
    for node, names in _nodes(graph, "", {}):
        if node.op_type in PACKED and any(name in names for name in node.input):
            raise DataError(
                f"the graph holds weights packed for {node.op_type}, which are not read; convert the model from before "
                "it was quantized"
            )
        for places in OPERATORS.get(node.op_type, ()):
            for name, part in _parts(node, places, names):
                if part not in found.setdefault(name, []):
                    found[name].append(part)
    return found


def _nodes(graph: Any, path: str, above: Mapping[str, tuple[str, Any]]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each node with the tensors that it can name: their names with the path, and what they are."""
    names = dict(above)
    for tensor in graph.initializer:
        names[tensor.name] = path + tensor.name, tensor
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value" and node.output:
                names[node.output[0]] = path + node.output[0], attribute.t
    for number, node in enumerate(graph.node):
        yield node, names
        for attribute in node.attribute:
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from _nodes(inner, f"{path}{node.name or number}.{attribute.name}.", names)


def _parts(node: Any, places: Places, names: Mapping[str, tuple[str, Any]]) -> Iterator[tuple[str, tuple[str, Shape]]]:
    """The parts of the weight that one node uses, if it is stored: names of before, names of now, shapes."""
    inputs = [*node.input, *[""] * 12]
    if inputs[places.weight] not in names:
        return
    full, weight = names[inputs[places.weight]]
    stem, short = full.removesuffix(INTEGERS), inputs[places.weight].removesuffix(INTEGERS)
    scale = short + SCALE if places.scale is None else inputs[places.scale]
    if scale not in names:
        raise DataError(
            f"the scale of the quantized weight {stem[:80]} is computed or missing; convert the model from before it "
            "was quantized",
            tensor=stem,
        )
    yield full, (stem + INTEGERS, tuple(weight.dims))
    for end, name in ((SCALE, scale), (ZERO_POINT, inputs[places.zero])):
        if name in names:
            yield names[name][0], (stem + end, _shape(node, places, tuple(weight.dims), names[name][1], stem))


def _shape(node: Any, places: Places, weight: Shape, part: Any, stem: str) -> Shape:
    """The shape in which a scale or zero point multiplies the weight: one number, one for each index of an axis."""
    dims, count = tuple(part.dims), math.prod(part.dims)
    if count == 1:
        return (1,) * len(weight)
    recurrent = node.op_type == "DynamicQuantizeLSTM"
    if recurrent and len(weight) == 3 and dims in (weight[:1], (weight[0], weight[2])):
        return weight[0], 1, dims[1] if len(dims) == 2 else 1
    given = {attribute.name: attribute.i for attribute in node.attribute}
    axis = 0 if given.get("transB") and node.op_type == "QGemm" else given.get("axis", places.axis)
    if recurrent or given.get("block_size") or dims != weight[axis : axis + 1 or None]:
        raise DataError(
            f"scales of shape {dims} for the quantized weight {stem[:80]} of shape {weight} are not read; convert the "
            "model from before it was quantized",
            tensor=stem,
        )
    return tuple(size if place == axis % len(weight) else 1 for place, size in enumerate(weight))
