"""Archives of NumPy, `numpy.savez` and `savez_compressed`: arrays by name; arrays of objects are refused unread.

Source:  numpy.lib.format, versions 1 to 3 of the format of an array.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from bytecap.convert.kinds.base import ByteLimit, Kind
from bytecap.convert.tensors import from_array
from bytecap.core.errors import DataError


class NumPyArchive(Kind):
    """A zip of `.npy` members."""

    title = "an archive of NumPy"
    suffixes: ClassVar[tuple[str, ...]] = (".npz",)
    growth = 32
    is_one_table = True

    def read(self, path: Path, limit: ByteLimit) -> Any:
        """The arrays by the names of their members."""
        with zipfile.ZipFile(path) as archive:
            table = {}
            for member in archive.infolist():
                with archive.open(member) as file:
                    name = member.filename.removesuffix(".npy")
                    if name in table:
                        raise DataError(f"{path} holds two arrays called {name[:80]}; write it again")
                    table[name] = _array(name, file, limit)
        return table


def _array(name: str, file: IO[bytes], limit: ByteLimit) -> Any:
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype.hasobject:
        raise DataError(
            f"array {name[:80]} holds Python objects, which only running code of the file could read; save it again "
            "as numbers (array.astype(numpy.float32))"
        )
    limit.take(name, shape, dtype.itemsize)
    flat = np.frombuffer(file.read(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize), dtype)
    return from_array(name, flat.reshape(shape, order="F" if fortran_order else "C"))
