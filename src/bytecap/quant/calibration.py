"""What is measured on a checkpoint before anything is decided.

In:   weights.
Out:  a Calibration: the standard deviation of each row of each matrix and of the embedding.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from bytecap.core.errors import NumericsError
from bytecap.quant.statistics import Calibration, TensorStatistics


def calibrate(weights: dict[str, Tensor], roles: dict[str, str], made_from: str) -> Calibration:
    """Measure every tensor; NumericsError names the first that holds NaN or infinity."""
    measured = []
    for name, weight in weights.items():
        values = weight.detach().double().numpy()
        if not np.isfinite(values).all():
            raise NumericsError(f"tensor {name} holds NaN or infinity; the checkpoint cannot be fitted", tensor=name)
        row_std = values.std(axis=1) if values.ndim == 2 else None
        measured.append(TensorStatistics(name=name, role=roles[name], shape=values.shape, row_std=row_std))
    return Calibration(made_from=made_from, tensors=tuple(measured))
