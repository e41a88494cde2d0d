"""Arrays of NumPy and tensors in a pickle, read without calling anything that the file names.

Globals that arrays are pickled with get stand-ins that keep what they are given, all others `foreign` ones; afterwards
the kept numbers become tensors.

In:   a pickle by `pickle.dump` of Python 2 or 3, any protocol; or what torch's reader of weights made of one.
Out:  its tables, with tensors in place of arrays.
Source:  numpy, `ndarray.__reduce_ex__` and `dtype.__reduce__`; torch, `TypedStorage.__reduce__`.
"""

from __future__ import annotations

import collections
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bytecap.convert.foreign import Foreign, stand_in
from bytecap.convert.kinds.base import ByteLimit
from bytecap.convert.tensors import from_array
from bytecap.core.errors import DataError


class PickledType(Foreign):
    """What `numpy.dtype` was called with; its state holds the byte order."""

    kind = "numpy.dtype"

    def dtype(self) -> np.dtype[Any] | None:
        """The type of plain numbers or text that it means; None for records, objects and subarrays."""
        name, state = self.arguments[0] if self.arguments else None, self.state
        order: Any = state[1] if isinstance(state, tuple) and len(state) > 3 else "|"
        if not isinstance(name, str) or name[:1] not in "biufcSUMm" or order not in "<>|=":
            return None
        return None if state and (state[2] or state[3]) else np.dtype(name).newbyteorder(order)


class PickledArray(Foreign):
    """What an array was pickled with: in a state (protocols below 5), or as arguments (`FromBuffer`)."""

    kind = "numpy.ndarray"

    def array(self, name: str, limit: ByteLimit) -> npt.NDArray[Any]:
        """The numbers; DataError, calling it `name`, for Python objects and for what is no array."""
        data, kind, shape, by_columns = self._parts(name)
        dtype = kind.dtype() if isinstance(kind, PickledType) else None
        if dtype is None:
            raise DataError(
                f"array {name[:80]} holds Python objects or records, which only running code of the file could read; "
                "save it again as numbers (array.astype(numpy.float32))"
            )
        if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
            raise DataError(f"array {name[:80]} has no shape of whole numbers; the file is damaged")
        limit.take(name, shape, dtype.itemsize)
        flat = np.frombuffer(data.encode("latin1") if isinstance(data, str) else bytes(data), dtype)
        return flat.reshape(shape, order="F" if by_columns else "C")

    def _parts(self, name: str) -> tuple[Any, Any, Any, bool]:
        """Bytes, type, shape, and whether columns follow one another."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise DataError(f"array {name[:80]} was not pickled as NumPy does it; save it again by numpy.savez")
        _, shape, kind, by_columns, data = self.state
        return data if isinstance(data, (bytes, bytearray, str)) else b"", kind, shape, bool(by_columns)


class FromBuffer(PickledArray):
    """Protocol 5: bytes, type, shape and order are the arguments."""

    def _parts(self, name: str) -> tuple[Any, Any, Any, bool]:
        if len(self.arguments) != 4 or not isinstance(self.arguments[0], (bytes, bytearray)):
            raise DataError(f"array {name[:80]} was not pickled as NumPy does it; save it again by numpy.savez")
        data, kind, shape, order = self.arguments
        return data, kind, shape, order == "F"


ARRAYS: dict[str, type[Foreign]] = {
    f"numpy.{core}.{name}": kind
    for core in ("core", "_core")
    for name, kind in (("multiarray._reconstruct", PickledArray), ("numeric._frombuffer", FromBuffer))
} | {"numpy.dtype": PickledType}
"""Stand-ins that keep arrays, by the names that NumPy 1 and 2 give to what makes them."""


def _table(*arguments: Any) -> collections.OrderedDict[Any, Any]:
    """An ordered table from its pairs, where a pickle begins it with them."""
    return collections.OrderedDict(arguments[0] if arguments and isinstance(arguments[0], list) else [])


def _encode(text: str, *_: str) -> bytes:
    """Bytes, which protocols below 3 write as text."""
    return text.encode("latin1")


def _storage(data: bytes) -> Any:
    """A storage of torch, which it saves as a file of its own."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


_CALLED = {
    "collections.OrderedDict": _table,
    "collections.defaultdict": _table,
    "_codecs.encode": _encode,
    "torch.storage._load_from_bytes": _storage,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
}
"""All that is called besides stand-ins; none of it runs what it is given."""


class _Reader(pickle.Unpickler):
    """No global of a file is ever looked up."""

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in, or one of the functions above."""
        full = f"{module}.{name}"
        return ARRAYS.get(full) or _CALLED.get(full) or stand_in(full)[0]


def read_pickle(path: Path, limit: ByteLimit) -> Any:
    """The tables of a pickle that `torch.save` did not write."""
    with path.open("rb") as file:
        return with_tensors(_Reader(file, encoding="latin1").load(), limit)


def with_tensors(root: Any, limit: ByteLimit) -> Any:
    """The same tables with a tensor for each array, one for one that is there twice; tuples become lists."""
    made: dict[int, tuple[Any, Any]] = {}  # both are kept, so that no id is used again
    open_: list[Any] = []

    def new(name: str, value: Any) -> Any:
        if id(value) in made:
            return made[id(value)][1]
        found = value
        if isinstance(value, PickledArray):
            found = from_array(name, value.array(name, limit))
        elif type(value) in (tuple, list) or isinstance(value, dict):
            found = list(value) if type(value) is tuple else value
            open_.append(found)
        made[id(value)] = (value, found)
        return found

    result = new("the only one", root)
    while open_:
        table = open_.pop()
        for key, value in list(table.items() if isinstance(table, dict) else enumerate(table)):
            table[key] = new(str(key), value)
    return result
