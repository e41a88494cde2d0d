"""Weights by name in 32-bit floats, for `load_state_dict` of any program; the model around them is not in it."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file

from bytecap.export.source import ExportSource, compare_weights
from bytecap.export.targets.base import Target


class Safetensors(Target):
    """One file, whatever the `.bcap` holds."""

    makes = "weights by name, 32 bits"
    suffix = ".safetensors"

    def write(self, source: ExportSource, place: Path) -> list[str]:
        """Every tensor as it is read back; the names are those in the file."""
        save_file(source.weights, place, metadata={"format": "pt"})
        return []

    def check(self, source: ExportSource, place: Path) -> str:
        """Number by number."""
        return compare_weights(load_file(place), source.weights, "safetensors")
