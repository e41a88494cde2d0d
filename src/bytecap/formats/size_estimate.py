"""What stored tensors will take, without packing them.

In:   what each tensor would add to a file.
Out:  bytes of each; tensors that share a section share its probability tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.coding.blocks import section_costs
from bytecap.coding.cost import adaptive_bytes
from bytecap.coding.general import ZSTD, compress

TRIED_BYTES = 1 << 17
"""Bytes of a tensor that are given to a compressor to know how it does."""


@dataclass(frozen=True)
class SizeEstimate:
    """What one tensor adds to a file."""

    own_bytes: float
    """Bytes that depend on this tensor alone."""
    section: str = ""
    counts_CM: npt.NDArray[np.int64] | None = None
    """For a section whose probability tables are shared: how often each token stands in each context."""


def coded_bytes(estimates: Mapping[str, SizeEstimate]) -> dict[str, float]:
    """Bytes of each tensor; together within a few hundredths of a percent of the packed file without its header."""
    sizes = {name: entry.own_bytes for name, entry in estimates.items()}
    for section in {entry.section for entry in estimates.values()}:
        counts = {n: e.counts_CM for n, e in estimates.items() if e.section == section and e.counts_CM is not None}
        for name, size in zip(counts, section_costs(list(counts.values())), strict=True):
            sizes[name] += size
    return sizes


def shared_costs(estimates: Mapping[str, SizeEstimate]) -> dict[str, dict[str, float]]:
    """By shared section, the bytes of each tensor in it."""
    costs: dict[str, dict[str, float]] = {}
    for name, size in coded_bytes(estimates).items():
        costs.setdefault(estimates[name].section, {})[name] = size - estimates[name].own_bytes
    return costs


def trial_bytes(data: bytes, number_bytes: int) -> float:
    """About what a general compressor makes of numbers of so many bytes, of which it has seen some in the middle.

    Other than by entropies, what stands in the data twice counts once.
    """
    total = 0.0
    for plane in np.frombuffer(data, np.uint8).reshape(-1, number_bytes).T:
        begin = max(0, plane.size - TRIED_BYTES) // 2
        some = plane[begin : begin + TRIED_BYTES].tobytes()
        total += len(compress(ZSTD, some)) * plane.size / max(len(some), 1)
    return total


def compressed_bytes(data: bytes, number_bytes: int) -> float:
    """About what a general compressor makes of numbers of so many bytes: each place at its entropy."""
    planes = np.frombuffer(data, np.uint8).reshape(-1, number_bytes).T
    return sum(min(adaptive_bytes(plane), float(plane.size)) for plane in planes)
