"""What a kind of checkpoint is: code that finds the tensors in one sort of file, for the process that may do no harm.

A kind is one file in this folder with one subclass of Kind; nothing lists it (docs/extending.md).

In:   a path.
Out:  nested tables of tensors, as `torch.load` would give them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bytecap.convert.tensors import MAX_AXES
from bytecap.core.errors import DataError


@dataclass
class ByteLimit:
    """How many bytes the tensors of a file may still take; asked before each is read."""

    left: int

    def take(self, name: str, shape: Sequence[int], item_bytes: int) -> None:
        """Raise DataError where a tensor of this shape is more than is left, or has more axes than any program uses."""
        if len(shape) > MAX_AXES:
            raise DataError(f"tensor {name[:80]} has {len(shape):,} axes, more than {MAX_AXES}; the file is damaged")
        if any(size < 0 for size in shape):
            raise DataError(f"tensor {name[:80]} has a size below 0; the file is damaged")
        self.left -= math.prod(map(int, shape)) * item_bytes
        if self.left < 0:
            raise DataError(
                f"tensor {name[:80]} of shape {tuple(map(int, shape))} takes more bytes than a file of this size may "
                "hold; the file is damaged, or compressed beyond what weights can be"
            )


class Kind(ABC):
    """Base of all kinds."""

    title: ClassVar[str]
    """What a file of this kind is called in messages, with its article."""
    suffixes: ClassVar[tuple[str, ...]]
    """Ends of the names of such files, small letters, with the dot."""
    library: ClassVar[str] = ""
    """The module that `read` imports, if it is no dependency of bytecap; imported before the process is confined."""
    extra: ClassVar[str] = ""
    """The extra of bytecap that installs it."""
    growth: ClassVar[int] = 8
    """Tensors may take so many times the bytes of their file; more than once, for tied ones are written twice."""
    is_one_table: ClassVar[bool] = False
    """True where all tensors of a file are one model's, however they are nested, so that no key is needed."""

    def size(self, path: Path) -> int:
        """Bytes of the file, with those of other files that it may send the reader to."""
        return path.stat().st_size

    @abstractmethod
    def read(self, path: Path, limit: ByteLimit) -> Any:
        """The tables of a file; any exception becomes a DataError that names the file.

        Whatever is no tensor stays in the tables as any other object, and is told as left out by the name of its type
        (`foreign.Foreign` has a name of its own). Every tensor is asked of `limit` before memory is taken for it.
        """
