"""The file is the largest the dial can make under the cap; never one byte over."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bytecap.coding.general import compress
from bytecap.core.errors import BudgetError
from bytecap.core.progress import Silent
from bytecap.grids.tensor import QuantizedModel, QuantizedTensor
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.calibration import calibrate
from bytecap.quant.landing import SLACK_BYTES, Fitter


def fitter(seed: int, rows: int = 64, columns: int = 96) -> Fitter:
    torch.manual_seed(seed)
    weights = {"m": torch.randn(rows, columns) * torch.rand(rows, 1), "s": torch.randn(7)}

    def pack(model: QuantizedModel) -> bytes:
        parts = [
            (t.symbols_OI.tobytes() + t.row_codes_O.tobytes()) if isinstance(t, QuantizedTensor) else t.values.tobytes()
            for t in model.tensors.values()
        ]
        return compress("zstd", b"".join(parts))

    return Fitter(weights, calibrate(weights, {"m": "matrix", "s": "scalar"}, "x"), QuantConfig(), pack)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 3), st.integers(200, 14_000))
def test_never_over_and_close_under(seed: int, cap: int) -> None:
    """Over the useful range the unused room is at most the slack; a cap that cannot be met is refused."""
    one = fitter(seed)
    smallest = one.smallest()
    if cap < smallest:
        with pytest.raises(BudgetError, match=f"at least {smallest:,} bytes"):
            one.land(cap, Silent())
        return
    landed = one.land(cap, Silent())
    assert len(landed.data) <= cap
    useful = len(one.at(2.0).data) < cap < len(one.at(2.0**-8).data)
    assert not useful or cap - len(landed.data) <= SLACK_BYTES


def test_more_room_than_needed() -> None:
    """A cap larger than any file takes the finest step and stops."""
    landed = fitter(0).land(10_000_000, Silent())
    assert landed.plan.dial == pytest.approx(2.0**-12) and landed.packings <= 16
    stored = landed.model.tensors["m"]
    assert isinstance(stored, QuantizedTensor)
    assert np.abs(stored.symbols_OI).max() > 4096
