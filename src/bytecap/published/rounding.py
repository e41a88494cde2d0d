"""Rounding as the published runs did it: integers times one 16-bit scale for each row.

In:   a weight (O, I), the rule for its scales and, for feedback, its curvature.
Out:  integers and scales, the parts of a `row_scales` tensor.

Letters: O rows (outputs), I columns (inputs), J columns of a block.
Source:  openai/parameter-golf: the naive baseline (quantile and floor), #219 (absmax), #1394 (standard deviations);
         GPTQ, arXiv 2210.17323, in activation order as in #508 and #1586.
Differs: the scale is rounded to 16 bits before it is used, as a reader sees it; the baseline used it at 32 bits. GPTQ
         runs in float64, not float32. A row whose scale is 0 at 16 bits becomes zeros, where the runs divided by 0.
         The runs summed x xᵀ over a batch and gave inputs that were never active a diagonal of 1, next to nothing
         there; in A, a mean over tokens, a 1 could be most of the damping, so such inputs stay at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import ConfigError, NumericsError
from bytecap.formats.plan import ScaleRule
from bytecap.quant.factors import Doubles, inverse_factor
from bytecap.quant.statistics import Curvature

QUANTILE, ABSMAX, SIGMA = "quantile", "absmax", "sigma"
"""Values of `ScaleRule.clip`."""
DAMPING = 0.01
"""Share of the mean diagonal that the runs added to A."""
BLOCK = 128
"""Columns rounded before the columns after them are brought up to date, all at once; changes no result."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RoundedRows:
    """weight[o, i] = symbols[o, i] * scale[o]."""

    symbols_OI: npt.NDArray[np.int16]
    scales_O: npt.NDArray[np.float16]

    def weights(self) -> Floats:
        """(O, I)."""
        return self.symbols_OI.astype(np.float32) * self.scales_O.astype(np.float32)[:, None]


def round_published(
    weight_OI: Floats, rule: ScaleRule, curvature: Curvature | None, damping: float = DAMPING, *, name: str = "a weight"
) -> RoundedRows:
    """Round by `rule`; `name` stands in errors only."""
    if rule.feedback and curvature is None:
        raise ConfigError(
            f"the scheme rounds {name} with feedback, which needs curvature measured on text; give --text", tensor=name
        )
    scales_O = row_scales(weight_OI, rule, name=name)
    wide_O = scales_O.astype(np.float64)
    if rule.feedback and curvature is not None:
        inputs_II = curvature.inputs_II if curvature.linear_II is None else curvature.linear_II
        symbols_OI = _with_feedback(weight_OI, wide_O, rule, inputs_II, damping, name)
    else:
        symbols_OI = _nearest(_clipped(weight_OI, rule), wide_O[:, None], rule).astype(np.int16)
    return RoundedRows(symbols_OI, scales_O)


def row_scales(weight_OI: Floats, rule: ScaleRule, *, name: str = "a weight") -> npt.NDArray[np.float16]:
    """max(clip of the row, floor) / R times the rule's step scale, at 16 bits."""
    if rule.clip == SIGMA and weight_OI.shape[1] < 2:
        raise ConfigError(
            f"{name} has one column, so its rows have no standard deviation; keep it at 16 bits", tensor=name
        )
    least_O = np.maximum(_clip_of_rows(weight_OI, rule), rule.floor)
    with np.errstate(over="ignore"):  # looked for right below
        scales_O = (least_O / rule.levels * rule.step_scale).astype(np.float32).astype(np.float16)
    if not np.isfinite(scales_O).all():
        raise NumericsError(
            f"{name} has a row whose scale is beyond 65,504, which 16 bits cannot hold, or no number; train it again "
            "with smaller weights",
            tensor=name,
        )
    return scales_O


def _clip_of_rows(weight_OI: Floats, rule: ScaleRule) -> Doubles:
    wide_OI = weight_OI.astype(np.float64)
    if rule.clip == QUANTILE:
        return np.asarray(np.quantile(np.abs(wide_OI), rule.amount, axis=1))
    if rule.clip == ABSMAX:
        return np.asarray(np.abs(wide_OI).max(axis=1))
    if rule.clip == SIGMA:
        return np.asarray(rule.amount * wide_OI.std(axis=1, ddof=1))
    raise ConfigError(f"a scale rule clips by {rule.clip!r}; choose {QUANTILE}, {ABSMAX} or {SIGMA}")


def _clipped(weight_OI: Floats, rule: ScaleRule) -> npt.NDArray[np.floating]:
    """The quantile of the baseline clips weights too; it is felt only where the floor makes the scale wider than it."""
    if rule.clip != QUANTILE:
        return weight_OI
    clip_O1 = _clip_of_rows(weight_OI, rule)[:, None]
    return np.clip(weight_OI.astype(np.float64), -clip_O1, clip_O1)


def _nearest(values: npt.NDArray[np.floating], scales: Doubles, rule: ScaleRule) -> Doubles:
    """Integers of values of one shape with their scales; a scale of 0 gives 0."""
    divisors = np.where(scales > 0, scales, np.inf)
    return np.clip(np.rint(values / divisors), *rule.integers)


def _with_feedback(
    weight_OI: Floats, scales_O: Doubles, rule: ScaleRule, inputs_II: Floats, damping: float, name: str
) -> npt.NDArray[np.int16]:
    """Column by column, the most active input first; the error of each is taken up by those after it."""
    rows, columns = weight_OI.shape
    assert inputs_II.shape == (columns, columns), "curvature of another weight"
    dead_I = np.diagonal(inputs_II) == 0
    order_I = np.argsort(-np.diagonal(inputs_II), kind="stable")
    U_II = inverse_factor(name, inputs_II[np.ix_(order_I, order_I)], damping)
    values_IO = np.ascontiguousarray(np.where(dead_I, 0.0, weight_OI)[:, order_I].T, np.float64)
    symbols_IO = np.zeros((columns, rows), np.int16)
    for begin in range(0, columns, BLOCK):
        end = min(begin + BLOCK, columns)
        error_JO = np.zeros((end - begin, rows))
        for j in range(begin, end):
            here = j - begin
            value_O = values_IO[j] - U_II[begin:j, j] @ error_JO[:here]
            symbol_O = _nearest(value_O, scales_O, rule)
            symbols_IO[j] = symbol_O
            error_JO[here] = (value_O - symbol_O * scales_O) / U_II[j, j]
        values_IO[end:] -= U_II[begin:end, end:].T @ error_JO
    symbols_OI = np.empty((rows, columns), np.int16)
    symbols_OI[:, order_I] = symbols_IO.T
    return symbols_OI
