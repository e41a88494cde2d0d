"""A plan survives its file."""

import json

import pytest

from bytecap.core.errors import DataError
from bytecap.grids.plan import FLOAT16, ROW_STEPS, BitPlan, TensorPlan, plan_from_json


def test_round_trip_and_refusal() -> None:
    """Through JSON and back; anything else is not a plan."""
    tensors = (
        TensorPlan(name="a", role="matrix", shape=(2, 3), grid=ROW_STEPS, row_codes=(7, 9)),
        TensorPlan(name="b", role="scalar", shape=(4,), grid=FLOAT16),
    )
    plan = BitPlan(made_from="x", dial=0.25, tensors=tensors)
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan
    with pytest.raises(DataError, match="not a bit plan"):
        plan_from_json({"dial": 1})
