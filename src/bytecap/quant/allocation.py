"""Which step every row gets, from one dial. Needs no torch.

In:   a Calibration and the dial: the step of matrices in standard deviations of their row.
Out:  a BitPlan.

Source:  openai/parameter-golf PR #1394: a clip at k standard deviations with b bits is a step of k σ / (2^(b-1) - 1),
         and behind an entropy coder only the step counts. Differs: no clip, and steps in eighths of an octave.
"""

from __future__ import annotations

from dataclasses import dataclass

from bytecap.core.errors import ConfigError
from bytecap.grids.grid import nearest_codes
from bytecap.grids.plan import FLOAT16, ROW_STEPS, BitPlan, TensorPlan
from bytecap.quant.statistics import Calibration, TensorStatistics

QUANTIZED_ROLES = ("matrix", "embedding")
FINEST_DIAL = 2.0**-12
COARSEST_DIAL = 16.0
"""Ends of the dial: from far below float16's own error to every weight rounded to zero."""


@dataclass(frozen=True, kw_only=True)
class QuantConfig:
    """How precision is shared out."""

    embedding_step: float = 0.5
    """Step of the embedding relative to the matrices', both in standard deviations of the row."""

    def __post_init__(self) -> None:
        """ConfigError for a step that cannot be."""
        if not 0 < self.embedding_step <= 16:
            raise ConfigError(f"quant.embedding_step is {self.embedding_step}; it must lie between 0 and 16")


def allocate(calibration: Calibration, dial: float, config: QuantConfig) -> BitPlan:
    """The plan for one position of the dial."""
    tensors = tuple(_plan(tensor, dial, config) for tensor in calibration.tensors)
    return BitPlan(made_from=calibration.made_from, dial=dial, tensors=tensors)


def _plan(tensor: TensorStatistics, dial: float, config: QuantConfig) -> TensorPlan:
    about = {"name": tensor.name, "role": tensor.role, "shape": tensor.shape}
    if tensor.role not in QUANTIZED_ROLES or tensor.row_std is None:
        return TensorPlan(**about, grid=FLOAT16)  # type: ignore[arg-type]
    relative = config.embedding_step if tensor.role == "embedding" else 1.0
    codes = nearest_codes(tensor.row_std * (dial * relative))
    return TensorPlan(**about, grid=ROW_STEPS, row_codes=tuple(codes.tolist()))  # type: ignore[arg-type]
