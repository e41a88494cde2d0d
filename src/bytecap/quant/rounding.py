"""Weights to integers: each to the nearest multiple of its row's step.

In:   weights and a BitPlan.
Out:  a QuantizedModel.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from bytecap.core.errors import DataError, NumericsError
from bytecap.grids.grid import steps_of
from bytecap.grids.plan import FLOAT16, BitPlan, TensorPlan
from bytecap.grids.tensor import MAX_SYMBOL, Float16Tensor, QuantizedModel, QuantizedTensor, StoredTensor


def round_model(weights: dict[str, Tensor], plan: BitPlan, made_from: str) -> QuantizedModel:
    """Every tensor by its plan; DataError when the plan was made for another checkpoint."""
    if plan.made_from != made_from:
        raise DataError(
            f"the plan was made from checkpoint {plan.made_from}, this is {made_from}; run `bytecap fit` again"
        )
    return QuantizedModel({entry.name: _round(weights[entry.name], entry) for entry in plan.tensors})


def _round(weight: Tensor, plan: TensorPlan) -> StoredTensor:
    values = weight.detach().numpy()
    if plan.grid == FLOAT16:
        with np.errstate(over="ignore"):  # looked for right below
            stored = values.astype(np.float16)
        if not np.isfinite(stored).all():
            raise NumericsError(f"tensor {plan.name} has values beyond 65,504, which 16 bits cannot hold")
        return Float16Tensor(plan.role, stored)
    codes = np.array(plan.row_codes, np.uint8)
    scaled = values / steps_of(codes)[:, None]
    symbols = np.clip(np.rint(scaled), -MAX_SYMBOL, MAX_SYMBOL).astype(np.int16)
    return QuantizedTensor(plan.role, symbols, codes)
