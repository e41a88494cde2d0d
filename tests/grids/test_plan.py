"""A plan survives its file."""

import json

import pytest

from bytecap.core.errors import DataError
from bytecap.grids.plan import FLOAT16, ROW_SCALES, STEPS, BitPlan, ScaleRule, TensorPlan, plan_from_json


def test_round_trip_and_refusal() -> None:
    """Through JSON and back; anything else is not a plan."""
    rule = ScaleRule(levels=31, lowest=-32, clip="absmax", amount=0.0, floor=1.0, feedback=False)
    codes = {"row_codes": (7, -9), "column_codes": (0, 1, 2), "states": 8}
    tensors = (
        TensorPlan(name="a", role="matrix", shape=(2, 3), grid=STEPS, base=0.25, **codes),
        TensorPlan(name="r", role="matrix", shape=(2, 3), grid=ROW_SCALES, rule=rule),
        TensorPlan(name="b", role="scalar", shape=(4,), grid=FLOAT16),
    )
    plan = BitPlan(made_from="x", scheme="bytecap", dial=0.25, tensors=tensors)
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan
    with pytest.raises(DataError, match="not a bit plan"):
        plan_from_json({"dial": 1})
