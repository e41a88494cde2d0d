"""Weights of an ONNX file: its initializers, and the float tensors in its Constant nodes, subgraphs included.

Weights that are quantized keep their integers, scales and zero points, named after the weight. Other integers and
single constants are no weights: those of initializers are named as left out, the largest first. External data is read
from plain files beside the file, as `torch.onnx.export` writes them, and from nowhere else.
Source:  onnx.proto of ONNX 1.23, TensorProto and "external data".
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bytecap.convert.foreign import stand_in
from bytecap.convert.kinds.base import ByteLimit, Kind
from bytecap.convert.onnx_quantized import find_parts
from bytecap.convert.tables import MAX_DEPTH
from bytecap.convert.tensors import from_array
from bytecap.core.errors import DataError
from bytecap.core.units import counted


class ONNX(Kind):
    """Tensors by their names in the graph."""

    title = "an ONNX model"
    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    library = "onnx"
    extra = "onnx"
    is_one_table = True

    def size(self, path: Path) -> int:
        """All plain files of the folder, as any of them may hold external data."""
        return sum(entry.stat().st_size for entry in os.scandir(path.parent) if entry.is_file(follow_symlinks=False))

    def read(self, path: Path, limit: ByteLimit) -> Any:
        """The float tensors of all graphs of the file."""
        import onnx  # noqa: PLC0415  (an optional library)

        model = onnx.load(path, load_external_data=False)
        table: dict[str, Any] = {}
        parts, left = find_parts(model.graph), dict[str, tuple[int, str]]()
        for name, tensor, is_constant in _tensors(model.graph, "", 0):
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            is_float = dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))
            count = math.prod(tensor.dims)
            if name not in parts and is_constant and (not is_float or count < 2):
                continue
            if name in table or name in left:
                raise DataError(f"{path} holds two tensors called {name[:80]}; write it again")
            if name not in parts and not is_float:
                left[name] = count, f"{counted(count, 'number')} of {dtype}"
                continue
            limit.take(name, tensor.dims, dtype.itemsize * len(parts.get(name, " ")))
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                array = _external(name, tensor, dtype, path.parent)
            else:
                array = onnx.numpy_helper.to_array(tensor)
            if dtype.name in ("int4", "uint4", "int2", "uint2"):
                array = array.astype(np.int8)
            for new, shape in parts.get(name, [(name, array.shape)]):
                if new in table:
                    raise DataError(f"{path} holds two tensors called {new[:80]}; write it again")
                table[new] = from_array(new, array.reshape(shape))
        for name, (_, kind) in sorted(left.items(), key=lambda item: -item[1][0]):
            table[name] = stand_in(kind)[0]()
        return table


def _tensors(graph: Any, path: str, depth: int) -> Iterator[tuple[str, Any, bool]]:
    """Name, tensor, and True for the constant of a node; names of a subgraph follow that of their node."""
    if depth > MAX_DEPTH:
        raise DataError(f"the graph at {path[:80]} is nested too deeply; the file is damaged")
    if graph.sparse_initializer:
        raise DataError(f"the graph {path[:80]} has sparse initializers, which are not read; store them dense")
    for tensor in graph.initializer:
        yield path + tensor.name, tensor, False
    for number, node in enumerate(graph.node):
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value" and node.output:
                yield path + node.output[0], attribute.t, True
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from _tensors(inner, f"{path}{node.name or number}.{attribute.name}.", depth + 1)


def _external(name: str, tensor: Any, dtype: np.dtype[Any], folder: Path) -> npt.NDArray[Any]:
    """The numbers of a tensor that lies in a file beside the model."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    location = where.get("location", "")
    file = folder / location
    if Path(location).name != location or not location or file.is_symlink() or not file.is_file():
        raise DataError(
            f"tensor {name[:80]} lies in {location[:80]!r}, which is no plain file beside the model; put it there, or "
            "save the model in one file (onnx.save_model with save_as_external_data=False)"
        )
    offset, count = int(where.get("offset", 0)), math.prod(tensor.dims)
    if offset < 0 or offset + count * dtype.itemsize > file.stat().st_size:
        raise DataError(f"{location[:80]} ends before the numbers of tensor {name[:80]}; get the file again")
    return np.fromfile(file, dtype, count, offset=offset).reshape(tuple(tensor.dims))
