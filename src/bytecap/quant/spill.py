"""Curvature and its factors in files instead of memory, where `--low-memory` asks for it.

In:   objects that hold arrays.
Out:  the same objects, whose large arrays lie in files that are mapped into memory: the same numbers to the bit.

What is mapped counts as memory of the process while it is used. So whoever has used an object releases it: its pages
go back to the system, and are read again when they are needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from bytecap.core.errors import BackendError

MIN_BYTES = 1 << 16
"""The size in bytes below which arrays stay in memory."""
Kept = TypeVar("Kept")
_folder: ContextVar[Path | None] = ContextVar("folder of what is spilled", default=None)
_numbers = itertools.count()


@contextlib.contextmanager
def spilling(wanted: bool = True) -> Iterator[None]:
    """Put large arrays into files in a temporary folder, which live as long as anything refers to them."""
    if not wanted:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="bytecap-") as folder:
        token = _folder.set(Path(folder))
        try:
            yield
        finally:
            _folder.reset(token)


def is_spilling() -> bool:
    """Return whether memory is to be saved."""
    return _folder.get() is not None


def keep(value: Kept) -> Kept:
    """The same dataclass, with its large arrays in files where memory is to be spared; BackendError for a full disk."""
    if not is_spilling() or not dataclasses.is_dataclass(value):
        return value
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        found = getattr(value, field.name)
        if isinstance(found, np.ndarray) and found.nbytes >= MIN_BYTES and not isinstance(found, np.memmap):
            changes[field.name] = _on_disk(found)
        elif isinstance(found, tuple):
            changes[field.name] = tuple(keep(one) for one in found)
    kept = dataclasses.replace(cast(Any, value), **changes)
    release(kept)
    return cast(Kept, kept)


def release(value: Any) -> None:
    """Free the memory of what is mapped in a dataclass, an array or a tuple; its data stays in the file."""
    if isinstance(value, np.memmap):
        mapped = getattr(value, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
    elif isinstance(value, tuple):
        for one in value:
            release(one)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            release(getattr(value, field.name))


def zeros(shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, Any]:
    """Zeros to add to, and what to release afterwards: a mapped file where memory is to be saved, or None."""
    size = 4 * int(np.prod(shape))
    if not is_spilling() or device.type != "cpu" or size < MIN_BYTES:
        return torch.zeros(shape, device=device), None
    mapped = _mapped(shape, np.dtype(np.float32))
    return torch.from_numpy(mapped), mapped


def _on_disk(array: Any) -> Any:
    mapped = _mapped(array.shape, array.dtype)
    mapped[:] = array
    return mapped


def _mapped(shape: tuple[int, ...], dtype: Any) -> Any:
    folder = _folder.get()
    assert folder is not None
    path = folder / str(next(_numbers))
    try:
        with path.open("wb") as file:  # the space is taken now: a full disk found later would end the process
            size = int(np.prod(shape)) * dtype.itemsize
            getattr(os, "posix_fallocate", lambda number, begin, size: os.ftruncate(number, size))(
                file.fileno(), 0, size
            )
        return np.memmap(path, dtype, "r+", shape=shape)
    except OSError as error:
        raise BackendError(
            f"--low-memory has no room for {int(np.prod(shape)) * dtype.itemsize:,} bytes in {folder.parent}: "
            f"{error.strerror}; free some, or leave --low-memory out"
        ) from error
