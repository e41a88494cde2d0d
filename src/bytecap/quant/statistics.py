"""What a calibration knows about a checkpoint. Needs no torch, so that deciding needs none.

In / Out:  filled by `calibration.py`, read by `allocation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class TensorStatistics:
    """Of one tensor."""

    name: str
    role: str
    shape: tuple[int, ...]
    row_std: npt.NDArray[np.float64] | None
    """Standard deviation of each row, for tensors with two axes."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Of one checkpoint, in the model's order."""

    made_from: str
    """Digest of the checkpoint."""
    tensors: tuple[TensorStatistics, ...]
