"""The grid of a published scheme on the training device: weights as that scheme would store and read them.

In:   a weight (O, I) and the rule of its row scales.
Out:  its row scales, and the weight rounded to nearest on them.

The rule itself is `published/rounding.py`, in numpy and 64 bits, by which files are made; a step of training must not
leave the device, so it is here a second time, and tests/train/test_row_grid.py holds both to equal numbers. Schemes
that round with GPTQ's feedback have the same grid; here it is rounded to nearest.

Letters: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import math

from torch import Tensor

from bytecap.formats.plan import ScaleRule


def row_scales(weight_OI: Tensor, rule: ScaleRule) -> Tensor:
    """max(clip of the row, floor) / R times the rule's step scale, rounded to 16 bits, as float32 (O,)."""
    return _scales(_clip_of_rows(weight_OI, rule), rule)


def round_to_grid(weight_OI: Tensor, rule: ScaleRule) -> Tensor:
    """Each weight at the nearest point of its row's grid, (O, I) float32; rows whose scale is 0 become zeros."""
    clip_O1 = _clip_of_rows(weight_OI, rule)[:, None]
    scales_O1 = _scales(clip_O1, rule)
    values_OI = weight_OI.double()  # a copy, changed in place from here on
    if rule.clip == "quantile":
        values_OI.clamp_(-clip_O1, clip_O1)
    values_OI.div_(scales_O1.double().masked_fill(scales_O1 == 0, math.inf)).round_().clamp_(*rule.integers)
    return values_OI.float().mul_(scales_O1)


def _scales(clip: Tensor, rule: ScaleRule) -> Tensor:
    return (clip.clamp_min(rule.floor) / rule.levels * rule.step_scale).float().half().float()


def _clip_of_rows(weight_OI: Tensor, rule: ScaleRule) -> Tensor:
    """(O,) float64."""
    if rule.clip == "sigma":
        return rule.amount * weight_OI.double().std(dim=1, correction=1)
    size_OI = weight_OI.abs()
    if rule.clip == "absmax":
        return size_OI.amax(dim=1).double()
    place = rule.amount * (weight_OI.size(1) - 1)
    below = int(place)
    largest = size_OI.topk(weight_OI.size(1) - below, dim=1).values[:, -2:].double()
    low_O, high_O, share = largest[:, -1], largest[:, 0], place - below
    step_O = high_O - low_O
    return low_O + step_O * share if share < 0.5 else high_O - step_O * (1.0 - share)
