"""Safetensors files, such as the shards of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from safetensors import safe_open

from bytecap.convert.kinds.base import ByteLimit, Kind


class Safetensors(Kind):
    """The tensors as they are."""

    title = "a safetensors file"
    suffixes: ClassVar[tuple[str, ...]] = (".safetensors",)

    def read(self, path: Path, limit: ByteLimit) -> Any:
        """Each tensor, its shape looked at first."""
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (it is no dictionary)
                limit.take(name, file.get_slice(name).get_shape(), 1)
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
