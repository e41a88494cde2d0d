"""The hand-made bit plans of published runs, by name, to be compared on any checkpoint. Needs no torch.

In:   shapes, a calibration where the scheme needs one, the name of a scheme and its step_scale.
Out:  a BitPlan of `row_scales` tensors, and 16- or 32-bit ones for what a run did not quantize.

Everywhere else in bytecap a tensor is known by its role. A published policy, however, is a table by class of name (MLP,
attention, block number), so one function here, `locate_tensor`, reads names; nothing else does.

Source:  openai/parameter-golf: the naive baseline, #65, #219, #309, #332, #1394, #1586, #1797.
Differs: #309's integers are known from its text only: taken are -31 .. 31 and the baseline's clip. A weight that the
         calibration never saw is rounded to nearest where a run used GPTQ, and has no rank in #332, which gives it six
         bits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from bytecap.core.errors import ConfigError, nearest
from bytecap.formats.floats import FLOAT16, FLOAT32
from bytecap.formats.per_channel import PER_CHANNEL
from bytecap.formats.plan import BitPlan, ScaleRule, TensorPlan
from bytecap.published.rounding import ABSMAX, QUANTILE, SIGMA
from bytecap.quant.allocation import Shape
from bytecap.quant.statistics import Calibration

KEEP_SMALL = 65_536
"""Tensors of so many elements or fewer stayed at 16 bits in every run; small models need a lower number, down to 0."""
CLIP_QUANTILE, CLIP_FLOOR = 0.9999984, 1.0
SIGMA_FLOOR = 1e-10
UNCLIPPED = 32_767
"""R of a scheme that never clips: what 16 bits hold."""
RANKED_ROWS = 64
"""Fewest rows of a tensor that #332 ranks."""

EMBEDDING, ATTENTION, MLP, OTHER = "embedding", "attention", "mlp", "other"
_WORDS = {
    EMBEDDING: ("embedding", "tok_emb", "embed_tokens", "wte", "lm_head"),
    ATTENTION: ("attention", "attn", "self_attn"),
    MLP: ("mlp", "feed_forward"),
}


@dataclass(frozen=True)
class _PolicyInputs:
    """What a policy may look at besides the tensor."""

    step_scale: float
    embedding_step: float
    blocks: int
    bits: dict[str, int]
    """Of #332, by name."""


@dataclass(frozen=True)
class _Policy:
    about: str
    rule: Callable[[Shape, _PolicyInputs], ScaleRule | None]
    """None keeps the tensor at 16 bits."""
    scalars: str = FLOAT16
    scalable: bool = False
    calibrated: bool = False


def scheme_plan(
    name: str,
    shapes: list[Shape],
    calibration: Calibration | None,
    source_digest: str,
    step_scale: float = 1.0,
    *,
    keep_small: int = KEEP_SMALL,
    embedding_step: float = 1.0,
) -> BitPlan:
    """The plan of a published run.

    `step_scale` multiplies the steps of the schemes in `SCALABLE` (in `best_published` it is the step in standard
    deviations); `embedding_step` is the embedding's step over the matrices', of `best_published` only.
    """
    policy = _policy(name)
    _refuse(name, policy, calibration, step_scale, embedding_step)
    bits = ranked_bits(shapes, calibration) if name == "pr332" and calibration is not None else {}
    report = _PolicyInputs(step_scale, embedding_step, _count_blocks(shapes), bits)
    tensors = []
    for entry in shapes:
        rule = _rule_of(entry, policy, report, keep_small)
        if rule is not None and rule.feedback and calibration is not None and entry.name not in calibration.tensors:
            rule = dataclasses.replace(rule, feedback=False)
        kept = FLOAT32 if entry.exact else policy.scalars if entry.role == "scalar" else FLOAT16
        grid = kept if rule is None else PER_CHANNEL
        tensors.append(TensorPlan(name=entry.name, role=entry.role, shape=tuple(entry.shape), format=grid, rule=rule))
    return BitPlan(
        source_digest=source_digest,
        scheme=name,
        step_scale=step_scale if policy.scalable else 0.0,
        tensors=tuple(tensors),
    )


def locate_tensor(entry: Shape) -> tuple[str, int | None]:
    """Class and block number of a matrix or embedding, from whole parts of its dotted name.

    `blocks.3.mlp.up.weight` is (mlp, 3): the first part that is a number counts blocks, the first part that is a known
    word names the class. An embedding is known by its role, too. What has neither is (other, None).
    """
    parts = entry.name.split(".")
    number = next((int(part) for part in parts if part.isdecimal()), None)
    if entry.role == "embedding":
        return EMBEDDING, number
    found = (kind for part in parts for kind, words in _WORDS.items() if part in words)
    return next(found, OTHER), number


def ranked_bits(shapes: list[Shape], calibration: Calibration) -> dict[str, int]:
    """#332: the top tenth of tensors by mean squared gradient gets 7 bits, the last fifth 5, the others 6.

    Fractions are of the number of tensors; the embedding takes a rank too, though it is always stored at 8 bits.
    """
    scores = {
        entry.name: calibration.tensors[entry.name].gradient_square
        for entry in shapes
        if len(entry.shape) == 2 and entry.shape[0] >= RANKED_ROWS and entry.name in calibration.tensors
    }
    if not scores:
        raise ConfigError(
            f"scheme pr332 ranks measured tensors of at least {RANKED_ROWS} rows and found none; choose another scheme"
        )
    order = sorted(scores.values())
    low, high = order[len(order) // 5], order[9 * len(order) // 10]
    return {name: 7 if score >= high else 5 if score <= low else 6 for name, score in scores.items()}


def _policy(name: str) -> _Policy:
    if name not in _POLICIES:
        raise ConfigError(
            f"there is no scheme {name!r}{nearest(name, _POLICIES)}; choose one of {', '.join(_POLICIES)}"
        )
    return _POLICIES[name]


def _refuse(
    name: str, policy: _Policy, calibration: Calibration | None, step_scale: float, embedding_step: float
) -> None:
    if policy.calibrated and calibration is None:
        uncalibrated = ", ".join(other for other, known in _POLICIES.items() if not known.calibrated)
        raise ConfigError(
            f"scheme {name} needs curvature measured on text: fit a run folder, or a checkpoint of ours with --text "
            f"and --tokenizer. Weights without their model can be fitted by {uncalibrated}"
        )
    if not policy.scalable and step_scale != 1.0:
        raise ConfigError(f"scheme {name} has one size and no step_scale; choose one of {', '.join(sorted(SCALABLE))}")
    if name != "best_published" and embedding_step != 1.0:
        raise ConfigError(f"scheme {name} has a fixed embedding; an embedding step belongs to best_published")
    for what, value in (("step_scale", step_scale), ("embedding step", embedding_step)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"the {what} of scheme {name} is {value}; it must be positive and finite")


def _rule_of(entry: Shape, policy: _Policy, report: _PolicyInputs, keep_small: int) -> ScaleRule | None:
    if entry.role == "scalar" or len(entry.shape) != 2 or math.prod(entry.shape) <= keep_small:
        return None
    return policy.rule(entry, report)


def _count_blocks(shapes: list[Shape]) -> int:
    numbers = [locate_tensor(entry)[1] for entry in shapes if entry.role == "matrix"]
    return 1 + max((number for number in numbers if number is not None), default=-1)


def _class_of(entry: Shape) -> str:
    kind, _ = locate_tensor(entry)
    if kind == OTHER:
        words = ", ".join(word for words in _WORDS.values() for word in words)
        raise ConfigError(
            f"this scheme treats MLP and attention differently and cannot tell what {entry.name} is: no part of its "
            f"name is one of {words}; rename the tensor, or choose int8, pr65, pr1394 or best_published",
            tensor=entry.name,
        )
    return kind


def _block_of(entry: Shape) -> int:
    _, number = locate_tensor(entry)
    if number is None:
        raise ConfigError(
            f"this scheme treats the first and last blocks differently and cannot tell the block of {entry.name}: no "
            "part of its name is a number, as in blocks.3.mlp.up.weight; rename the tensor, or choose another scheme",
            tensor=entry.name,
        )
    return number


def _is_embedding(entry: Shape) -> bool:
    return locate_tensor(entry)[0] == EMBEDDING


def _by_range(bits: int, clip: str = QUANTILE) -> ScaleRule:
    """March 2026: scale from the range of the row with the floor, rounding to nearest; absmax used the odd integer."""
    largest = 2 ** (bits - 1) - 1
    lowest = -largest - 1 if clip == ABSMAX else -largest
    amount = CLIP_QUANTILE if clip == QUANTILE else 0.0
    return ScaleRule(levels=largest, lowest=lowest, clip=clip, amount=amount, floor=CLIP_FLOOR, feedback=False)


def _by_sigma(levels: int, deviations: float) -> ScaleRule:
    """From April 2026: scale in standard deviations of the row, GPTQ."""
    floor = SIGMA_FLOOR * levels  # the runs put it on the scale
    return ScaleRule(levels=levels, lowest=-levels, clip=SIGMA, amount=deviations, floor=floor, feedback=True)


def _pr65(entry: Shape, report: _PolicyInputs) -> ScaleRule:
    return _by_range(8 if _is_embedding(entry) else 6)


def _pr219(entry: Shape, report: _PolicyInputs) -> ScaleRule:
    kind = _class_of(entry)
    return _by_range(8) if kind == EMBEDDING else _by_range(5 if kind == MLP else 6, ABSMAX)


def _pr309(entry: Shape, report: _PolicyInputs) -> ScaleRule | None:
    if _is_embedding(entry):
        return None
    return _by_range(6 if 2 <= _block_of(entry) < report.blocks - 2 else 8)


def _pr332(entry: Shape, report: _PolicyInputs) -> ScaleRule:
    return _by_range(8 if _is_embedding(entry) else report.bits.get(entry.name, 6))


def _pr1394(entry: Shape, report: _PolicyInputs) -> ScaleRule:
    return (
        _by_sigma(127, 20.0 * report.step_scale) if _is_embedding(entry) else _by_sigma(31, 12.85 * report.step_scale)
    )


def _pr1586(entry: Shape, report: _PolicyInputs) -> ScaleRule:
    levels, deviations = {EMBEDDING: (63, 15.0), MLP: (31, 12.0), ATTENTION: (31, 13.0)}[_class_of(entry)]
    return _by_sigma(levels, deviations * report.step_scale)


def _best_published(entry: Shape, report: _PolicyInputs) -> ScaleRule:
    step = report.step_scale * (report.embedding_step if _is_embedding(entry) else 1.0)
    return _by_sigma(UNCLIPPED, step * UNCLIPPED)


_POLICIES = {
    "int8": _Policy("8 bits everywhere, by range: the naive baseline", lambda entry, report: _by_range(8), FLOAT32),
    "pr65": _Policy("matrices 6 bits, embedding 8, by range", _pr65, FLOAT32),
    "pr219": _Policy("MLP 5 bits, attention 6, embedding 8, by range", _pr219),
    "pr309": _Policy("first and last two blocks 8 bits, others 6, embedding 16, by range", _pr309, FLOAT32),
    "pr332": _Policy("7, 6 or 5 bits by rank of squared gradient, embedding 8", _pr332, FLOAT32, calibrated=True),
    "pr1394": _Policy(
        "GPTQ, steps of 12.85/31 row deviations, embedding 20/127", _pr1394, scalable=True, calibrated=True
    ),
    "pr1586": _Policy(
        "GPTQ, steps of 12/31 (MLP), 13/31 (attention), 15/63 (embedding) row deviations", _pr1586,
        scalable=True, calibrated=True,
    ),
    "pr1797": _Policy(
        "pr1586 with a low-rank repair of the three tensors that lost most", _pr1586, scalable=True, calibrated=True
    ),
    "best_published": _Policy(
        "GPTQ in activation order, nothing clipped, one step in row deviations for all", _best_published,
        scalable=True, calibrated=True,
    ),
}  # fmt: skip

SCHEMES = {name: policy.about for name, policy in _POLICIES.items()}
"""Names and what they are."""
SCALABLE = frozenset(name for name, policy in _POLICIES.items() if policy.scalable)
"""Schemes of any size."""
CALIBRATED = frozenset(name for name, policy in _POLICIES.items() if policy.calibrated)
"""Schemes that need a calibration."""
