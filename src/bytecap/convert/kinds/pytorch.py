"""Checkpoints of `torch.save`: read with `weights_only`, objects of other classes are stand-ins, no class is called."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, ClassVar

import torch

from bytecap.convert.foreign import stand_in
from bytecap.convert.kinds.base import ByteLimit, Kind
from bytecap.core.errors import DataError


class PyTorch(Kind):
    """What `torch.save` wrote, zipped or as before version 1.6."""

    title = "a PyTorch checkpoint"
    suffixes: ClassVar[tuple[str, ...]] = (".pt", ".pth", ".ckpt", ".bin")

    def read(self, path: Path, limit: ByteLimit) -> Any:
        """What was saved, on the CPU; views are counted when they are written out (`tensors.separate`)."""
        zipped = zipfile.is_zipfile(path)
        names = _foreign_names(path) if zipped else []
        with torch.serialization.safe_globals([stand_in(name) for name in names]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)


def _foreign_names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        if any(Path(name).name == "constants.pkl" for name in archive.namelist()):
            raise DataError(f"{path} is a TorchScript program, not weights; save its state_dict() where it was made")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise DataError(f"{path} is a compressed archive, which torch.save never writes; unpack it first")
    return torch.serialization.get_unsafe_globals_in_checkpoint(path)
