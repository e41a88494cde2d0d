"""An ONNX file as a torch module: its initializers are parameters, its nodes calls of torch.

In:   an ONNX file of some forty kinds of nodes.
Out:  a module whose state is the file's numbers under the names that they have there, dots replaced.

Only what the packages' files use is here; anything else is refused by the node's name. Source: onnx.ai/onnx/operators.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from public_models.onnx_nodes import OPERATIONS, Attributes

CONSTANTS = 8
"""Numbers up to which a tensor is part of the graph and no weight."""


class OnnxGraph(nn.Module):
    """A file's graph up to an output, or, where that is a probability, up to its logits."""

    def __init__(self, path: Path, output: str | None = None) -> None:
        super().__init__()
        graph = onnx.load(path).graph
        arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        counted = {name for n in graph.node if n.op_type == "BatchNormalization" for name in n.input[3:]}
        self.names: dict[str, str] = {}
        self.constants: dict[str, Tensor] = {}
        for name, array in arrays.items():
            value = torch.from_numpy(np.array(array))
            if value.is_floating_point() and value.numel() > CONSTANTS:
                self.names[name] = name.replace(".", "_").replace("/", "_")
                if name in counted:
                    self.register_buffer(self.names[name], value.float())
                else:
                    self.register_parameter(self.names[name], nn.Parameter(value.float()))
            else:
                self.constants[name] = value
        self.inputs = [i.name for i in graph.input if i.name not in arrays]
        made = {out: node for node in graph.node for out in node.output}
        self.output = output or graph.output[0].name
        while made[self.output].op_type in ("Softmax", "Sigmoid", "Identity"):
            self.output = made[self.output].input[0]
        self.nodes = [(n.op_type, list(n.input), list(n.output), _attributes(n)) for n in _needed(made, self.output)]

    def forward(self, *given: Tensor) -> Tensor:
        """The output for the inputs in the file's order."""
        values: dict[str, Any] = {**self.constants, **dict(zip(self.inputs, given, strict=True)), "": None}
        values |= {name: getattr(self, kept) for name, kept in self.names.items()}
        for kind, inputs, outputs, attributes in self.nodes:
            run = OPERATIONS.get(kind)
            if run is None:
                raise NotImplementedError(f"no {kind}")
            out = run([values[name] for name in inputs], attributes)
            values |= zip(outputs, out if isinstance(out, tuple) else (out,), strict=False)
        found: Tensor = values[self.output]
        return found


def _needed(made: dict[str, Any], output: str) -> list[Any]:
    """The nodes that an output hangs on, in an order in which each has its inputs."""
    order: list[Any] = []
    seen: set[int] = set()
    stack = [(made[output], False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(made[name], False) for name in node.input if name in made]
    return [node for node in order if node.op_type != "Constant" or node.attribute[0].name != "value"]


def _attributes(node: Any) -> Attributes:
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in found.items()}
