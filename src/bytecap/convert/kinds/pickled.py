"""Pickles of arrays or tensors, `pickle.dump`: what they hold is read, and nothing that they name is called.

Source:  Python, pickletools; bytecap.convert.pickles says what of NumPy and torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from bytecap.convert.kinds.base import ByteLimit, Kind
from bytecap.convert.kinds.pytorch import PyTorch, is_torch
from bytecap.convert.pickles import read_pickle


class Pickled(Kind):
    """A table or list of arrays; `torch.save` writes files with this suffix too."""

    title = "a pickle"
    suffixes: ClassVar[tuple[str, ...]] = (".pkl", ".pickle")

    def read(self, path: Path, limit: ByteLimit) -> Any:
        """The arrays under the names that the tables give them."""
        return PyTorch().read(path, limit) if is_torch(path) else read_pickle(path, limit)
