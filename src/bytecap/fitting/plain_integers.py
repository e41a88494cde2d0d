"""Plain rounding at any size: integers to the nearest, one step for each output by the largest of its numbers.

In:   weights.
Out:  a FitProblem whose files are those of plain rounding, to be held against a fit that should be better.

Letters: O rows, C outputs (the first axis), I columns.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bytecap.fitting.problem import FitProblem, build_problem
from bytecap.fitting.source import WeightSource
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.factors import Factors


def build_plain_problem(source: WeightSource, config: QuantConfig) -> FitProblem:
    """Every matrix with the same largest integer in each output; whatever has one axis stays at 16 bits.

    The step scale is about 1 / (1.83 L) for a largest integer of L, which need not be a power of two.
    """
    problem = build_problem(source, None, config)
    factors = {name: _factors_by_largest(source, name, problem.weights[name].shape) for name in problem.factors}
    return dataclasses.replace(problem, factors=factors, per_tensor={}, per_channel=frozenset(factors))


def _factors_by_largest(source: WeightSource, name: str, shape: tuple[int, ...]) -> Factors:
    """Factors of a matrix (O, I), whose rows are one or several for each of the C outputs."""
    weight = source.weights[name]
    largest_C = np.abs(weight.reshape(len(weight), -1)).max(axis=1).astype(np.float64)
    largest_C[largest_C == 0] = float(largest_C.max()) or 1.0  # zeros need a step all the same
    return Factors(np.ones(shape[1]), np.repeat(largest_C, shape[0] // len(largest_C)))
