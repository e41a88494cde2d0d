"""What symbols cost before they are coded: their order-0 entropy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEARNED_BITS = 5.0
"""What an adaptive coder pays for each value that it has not seen before."""


def entropy_bytes(symbols: npt.NDArray[np.integer]) -> float:
    """Bytes of an ideal coder that knows the histogram of `symbols` and nothing else."""
    if symbols.size == 0:
        return 0.0
    counts = np.bincount(symbols.reshape(-1).astype(np.int64) - int(symbols.min()))
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / symbols.size)).sum() / 8.0)


def adaptive_bytes(symbols: npt.NDArray[np.integer]) -> float:
    """Bytes of a coder that must learn the histogram: its entropy, and something for each value not seen before."""
    return entropy_bytes(symbols) + LEARNED_BITS / 8 * np.unique(symbols).size


def apportion(total: int, parts: list[float]) -> list[int]:
    """Whole bytes in proportion to `parts` that sum to `total` exactly (largest remainders first)."""
    whole = sum(parts)
    exact = [total * part / whole for part in parts] if whole > 0 else [0.0] * len(parts)
    floors = [int(value) for value in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: floors[i] - exact[i])
    for i in by_remainder[: total - sum(floors)]:
        floors[i] += 1
    return floors
