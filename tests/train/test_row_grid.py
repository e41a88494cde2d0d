"""The grid in torch equals the one in numpy, by which files are made, number by number."""

import dataclasses

import numpy as np
import pytest
import torch

from bytecap.formats.plan import ScaleRule
from bytecap.published.rounding import round_published, row_scales
from bytecap.published.scheme_plan import training_grids
from bytecap.quant.allocation import Shape
from bytecap.train import row_grid

SHAPES = [
    Shape("embedding", "embedding", (64, 48)),
    *(Shape(f"blocks.{i}.{name}", "matrix", (24, 48)) for i in range(6) for name in ("attention.query", "mlp.up")),
]
PLAIN = ("int8", "pr65", "pr219", "pr309", "pr1394", "pr1586")
RULES = {
    (rule.levels, rule.lowest, rule.clip, rule.amount, rule.floor, rule.step_scale): rule
    for name, step_scale in [(name, 1.0) for name in PLAIN] + [("pr65", 1.7), ("pr1586", 0.8), ("best_published", 0.4)]
    for rule in training_grids(name, SHAPES, 0, step_scale).values()
}


@pytest.mark.parametrize("columns", [2, 3, 48, 511, 2048])
@pytest.mark.parametrize(
    "rule", RULES.values(), ids=[f"{r.clip}-{r.levels}-{r.amount:g}-{r.step_scale:g}" for r in RULES.values()]
)
def test_equals_the_rounding_of_files(rule: ScaleRule, columns: int) -> None:
    """Rows far below the floor and far above it, of zeros, of a single weight, of values half way between two."""
    generator = np.random.default_rng(columns)
    weight_OI = generator.normal(size=(40, columns)).astype(np.float32)
    weight_OI *= np.float32(10.0) ** generator.uniform(-6, 4, (40, 1)).astype(np.float32)
    weight_OI[0], weight_OI[1, 1:], weight_OI[2] = 0.0, 0.0, -weight_OI[2]
    weight_OI[3] = 31.0 / 2 - generator.integers(0, 32, columns)  # a scale of 1/2 or 1 puts these half way between two
    scales_O = row_scales(weight_OI, rule)
    assert np.array_equal(row_grid.row_scales(torch.from_numpy(weight_OI), rule).numpy(), scales_O.astype(np.float32))
    expected = round_published(weight_OI, rule_without_feedback(rule), None).weights()
    assert np.array_equal(row_grid.round_to_grid(torch.from_numpy(weight_OI), rule).numpy(), expected)


def rule_without_feedback(rule: ScaleRule) -> ScaleRule:
    return dataclasses.replace(rule, feedback=False)


@pytest.mark.parametrize("amount", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_any_quantile(amount: float) -> None:
    """Between any two of the sorted weights, below and above the middle of them."""
    rule = ScaleRule(levels=7, lowest=-7, clip="quantile", amount=amount, floor=0.0, feedback=False)
    weight_OI = np.random.default_rng(0).normal(size=(9, 14)).astype(np.float32)
    found = row_grid.round_to_grid(torch.from_numpy(weight_OI), rule).numpy()
    assert np.array_equal(found, round_published(weight_OI, rule, None).weights())
