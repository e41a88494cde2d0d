"""The bit plan of a published run on any checkpoint. Needs no torch.

In:   the options of a scheme, shapes, a calibration where the scheme needs one, its step scale.
Out:  a BitPlan of `per_channel` or `per_group` tensors, and of 16- or 32-bit ones for what the run did not quantize.

Differs: a weight that the calibration never saw is rounded to nearest where a run used GPTQ.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from bytecap.core.budget import OverCap
from bytecap.core.errors import ConfigError, nearest
from bytecap.formats.floats import FLOAT16, FLOAT32
from bytecap.formats.per_channel import PER_CHANNEL
from bytecap.formats.per_group import PER_GROUP
from bytecap.formats.plan import BitPlan, ScaleRule, TensorPlan
from bytecap.published.scheme import Scheme, SchemeInputs, locate_tensor
from bytecap.published.schemes import SCHEMES
from bytecap.quant.allocation import Shape
from bytecap.quant.statistics import Calibration

KEEP_SMALL = 65_536
"""Tensors of so many elements or fewer stayed at 16 bits in every run; small models need a lower number, down to 0."""


@dataclass(frozen=True)
class SchemeOptions:
    """What may be chosen about a published scheme."""

    name: str
    keep_small: int = KEEP_SMALL
    """Matrices of so many elements or fewer stay at 16 bits."""
    embedding_step: float = 1.0
    """The embedding's step over the matrices', where the scheme leaves it open."""
    over_cap: OverCap | None = None
    """What is done where the scheme as published is over the cap; None: the largest file, finer or coarser."""


def scheme_plan(
    options: SchemeOptions,
    shapes: list[Shape],
    calibration: Calibration | None,
    source_digest: str,
    step_scale: float = 1.0,
) -> BitPlan:
    """The plan of a published run; ConfigError where the scheme has no such option or cannot do without a calibration.

    `step_scale` multiplies all steps; 1 means those of the run (`best_published` has none: it is the step in
    deviations). `options.over_cap` plays no part here.
    """
    scheme, keep_small = find_scheme(options.name), options.keep_small
    _refuse(options, scheme, calibration, step_scale)
    ranked = {} if scheme.rank_bits is None or calibration is None else scheme.rank_bits(shapes, calibration)
    inputs = SchemeInputs(step_scale, options.embedding_step, _count_blocks(shapes), ranked)
    tensors = []
    for entry in shapes:
        rule = _find_rule(entry, scheme, inputs, keep_small)
        if rule is not None and rule.feedback and calibration is not None and entry.name not in calibration.tensors:
            rule = dataclasses.replace(rule, feedback=False)
        bits, group_size = scheme.group if scheme.group and _is_quantized(entry, keep_small) else (0, 0)
        kept = FLOAT32 if entry.exact else scheme.scalars if entry.role == "scalar" else FLOAT16
        stored = PER_GROUP if bits else kept if rule is None else PER_CHANNEL
        tensors.append(
            TensorPlan(
                name=entry.name, role=entry.role, shape=tuple(entry.shape), format=stored, rule=rule, bits=bits,
                group_size=group_size, step_scale=step_scale if bits else 1.0,
            )
        )  # fmt: skip
    return BitPlan(source_digest=source_digest, scheme=options.name, step_scale=step_scale, tensors=tuple(tensors))


def training_grids(name: str, shapes: list[Shape], keep_small: int, step_scale: float = 1.0) -> dict[str, ScaleRule]:
    """The row grid of each weight that a scheme quantizes, for training on it, all steps times `step_scale`.

    ConfigError where the scheme has no row grid, one that only the finished weights tell, or no steps of its own.
    """
    scheme = find_scheme(name)
    if scheme.group is not None or scheme.rank_bits is not None:
        usable = [n for n, other in SCHEMES.items() if not (other.group or other.rank_bits)]
        raise ConfigError(
            f"the grid of scheme {name} is not one of rows, or is known only when training has ended, so no run can be "
            f"trained on it; choose one of {', '.join(usable)}"
        )
    if not scheme.own_size and step_scale == 1.0:
        raise ConfigError(
            f"scheme {name} has no steps of its own; set step_scale, the step in standard deviations of a row, such as "
            "that which a file of the wanted size has"
        )
    inputs = SchemeInputs(step_scale, 1.0, _count_blocks(shapes), {})
    rules = {entry.name: _find_rule(entry, scheme, inputs, keep_small) for entry in shapes}
    return {entry: rule for entry, rule in rules.items() if rule is not None}


def find_scheme(name: str) -> Scheme:
    """The scheme of that name; ConfigError names the nearest and all of them."""
    if name not in SCHEMES:
        raise ConfigError(
            f"there is no scheme {name!r}{nearest(name, SCHEMES)}; choose one of {_names(lambda other: True)}"
        )
    return SCHEMES[name]


def _refuse(options: SchemeOptions, scheme: Scheme, calibration: Calibration | None, step_scale: float) -> None:
    name, embedding_step = options.name, options.embedding_step
    if scheme.calibrated and calibration is None:
        uncalibrated = _names(lambda other: not other.calibrated)
        raise ConfigError(
            f"scheme {name} needs curvature measured on text: fit a run folder, or a checkpoint of ours with --text "
            f"and --tokenizer. Weights without their model can be fitted by {uncalibrated}"
        )
    if not scheme.embedding_step and embedding_step != 1.0:
        open_ = _names(lambda other: other.embedding_step)
        raise ConfigError(f"scheme {name} has a fixed embedding; an embedding step belongs to {open_}")
    for what, value in (("step_scale", step_scale), ("embedding step", embedding_step)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"the {what} of scheme {name} is {value}; it must be positive and finite")


def _names(wanted: Callable[[Scheme], bool]) -> str:
    """The names of some schemes, in words; of the group-wise ones an example."""
    found = {name: scheme.group for name, scheme in SCHEMES.items() if wanted(scheme)}
    alone = [name for name, group in found.items() if group is None]
    return ", ".join(alone) + (" or group-wise integers such as int4_group64" if len(alone) < len(found) else "")


def _find_rule(entry: Shape, scheme: Scheme, inputs: SchemeInputs, keep_small: int) -> ScaleRule | None:
    return scheme.rule(entry, inputs) if _is_quantized(entry, keep_small) else None


def _is_quantized(entry: Shape, keep_small: int) -> bool:
    return entry.role != "scalar" and len(entry.shape) == 2 and math.prod(entry.shape) > keep_small


def _count_blocks(shapes: list[Shape]) -> int:
    numbers = [locate_tensor(entry)[1] for entry in shapes if entry.role == "matrix"]
    return 1 + max((number for number in numbers if number is not None), default=-1)
