"""Weights of Keras, in HDF5 (`.h5`, `.hdf5`) or in the zip that `.keras` is; no layer is built and no code run.

Names are the paths of the datasets with dots. What an optimizer keeps is left out. A file can send its reader to other
files (external links, external storage, virtual datasets); such ones are refused.
Source:  HDF5 through h5py; layout of Keras 2 (`model_weights`) and 3 (`model.weights.h5`).
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, ClassVar

from bytecap.convert.foreign import stand_in
from bytecap.convert.kinds.base import ByteLimit, Kind
from bytecap.convert.tables import MAX_DEPTH
from bytecap.convert.tensors import from_array
from bytecap.core.errors import DataError

WEIGHTS_IN_KERAS = "model.weights.h5"
OPTIMIZERS = ("optimizer_weights", "optimizer")
"""Groups at the root that hold an optimizer's state."""
MAX_OBJECTS = 1_000_000


class HDF5(Kind):
    """Datasets by their paths."""

    title = "a file of HDF5"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".keras")
    library = "h5py"
    extra = "hdf5"
    growth = 32
    is_one_table = True

    def read(self, path: Path, limit: ByteLimit) -> Any:
        """Nested tables, one for each group."""
        import h5py  # noqa: PLC0415  (an optional library)

        with h5py.File(_inner(path, limit) if zipfile.is_zipfile(path) else path, "r") as file:
            table = _Walk(limit).group(file, "", 0)
        for name in OPTIMIZERS:
            if isinstance(table.get(name), dict):
                table[name] = stand_in("an optimizer's state")[0]()
        return table


def _inner(path: Path, limit: ByteLimit) -> io.BytesIO:
    """The file of weights inside a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        if WEIGHTS_IN_KERAS not in archive.namelist():
            raise DataError(f"{path} is a zip without {WEIGHTS_IN_KERAS}; save the model again with Keras 3")
        member = archive.getinfo(WEIGHTS_IN_KERAS)
        ByteLimit(limit.left).take(member.filename, (member.file_size,), 1)
        with archive.open(member) as file:
            return io.BytesIO(file.read(member.file_size))


class _Walk:
    """Goes through groups, each once."""

    def __init__(self, limit: ByteLimit) -> None:
        self.limit, self.seen = limit, set[int]()
        self.objects = 0

    def group(self, group: Any, path: str, depth: int) -> dict[str, Any]:
        """The datasets below a group."""
        import h5py  # noqa: PLC0415

        address = h5py.h5o.get_info(group.id).addr
        if address in self.seen or depth > MAX_DEPTH:
            raise DataError(f"group {path[:80]} of the file leads back to itself, or too deep; write it again")
        self.seen.add(address)
        table: dict[str, Any] = {}
        for name in group:
            where, self.objects = f"{path}/{name}", self.objects + 1
            if self.objects > MAX_OBJECTS:
                raise DataError(f"the file holds more than {MAX_OBJECTS:,} objects; it is damaged")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise DataError(f"{where[:80]} is a link to another place or file; write a file that holds its arrays")
            value = group[name]
            if isinstance(value, h5py.Group):
                table[name] = self.group(value, where, depth + 1)
            elif isinstance(value, h5py.Dataset):
                table[name] = self.dataset(where, value)
        self.seen.remove(address)
        return table

    def dataset(self, where: str, value: Any) -> Any:
        """The numbers of a dataset, or what it is instead."""
        if value.is_virtual or value.external:
            raise DataError(f"{where[:80]} lies in another file; write a file that holds its arrays")
        if value.shape is None or value.dtype.kind in "OSU":
            return stand_in(f"HDF5 {value.dtype}")[0]()
        self.limit.take(where, value.shape, value.dtype.itemsize)
        return from_array(where, value[()])
