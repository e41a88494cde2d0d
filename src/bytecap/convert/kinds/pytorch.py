"""Checkpoints of `torch.save`: read with `weights_only`, objects of other classes are stand-ins, no class is called."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import torch

from bytecap.convert.foreign import stand_in
from bytecap.convert.kinds.base import ByteLimit, Kind
from bytecap.convert.pickles import ARRAYS, read_pickle, with_tensors
from bytecap.core.errors import DataError

_OLD = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
"""How a checkpoint begins that is no zip archive."""


class PyTorch(Kind):
    """What `torch.save` wrote, zipped or as before version 1.6."""

    title = "a PyTorch checkpoint"
    suffixes: ClassVar[tuple[str, ...]] = (".pt", ".pth", ".ckpt", ".bin")

    def read(self, path: Path, limit: ByteLimit) -> Any:
        """What was saved, on the CPU; views are counted when they are written out (`tensors.separate`)."""
        if not is_torch(path):
            return read_pickle(path, limit)
        zipped = zipfile.is_zipfile(path)
        names = _foreign_names(path) if zipped else []
        with torch.serialization.safe_globals([(ARRAYS.get(name) or stand_in(name)[0], name) for name in names]):
            return with_tensors(torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None), limit)


def is_torch(path: Path) -> bool:
    """Return whether `torch.save` wrote it, zipped or as before version 1.6; else it is none, or a plain pickle."""
    with path.open("rb") as file:
        return file.read(len(_OLD)) == _OLD or zipfile.is_zipfile(path)


def _foreign_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        if any(Path(name).name == "constants.pkl" for name in archive.namelist()):
            raise DataError(f"{path} is a TorchScript program, not weights; save its state_dict() where it was made")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise DataError(f"{path} is a compressed archive, which torch.save never writes; unpack it first")
    return torch.serialization.get_unsafe_globals_in_checkpoint(path)
