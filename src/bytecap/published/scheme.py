"""What a published scheme is: a rule for each tensor, and what the rule may look at.

In:   names, roles and shapes of tensors.
Out:  Scheme, of which each file in `schemes/` makes one; the two kinds of row scales that published runs used; the
      class and the block that a name stands for.

Everywhere else in bytecap a tensor is known by its role. A published policy, however, is a table by class of name (MLP,
attention, block number), so one function here, `locate_tensor`, reads names; nothing else does. Needs no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from bytecap.coding.general import ZLIB
from bytecap.core.errors import ConfigError
from bytecap.formats.floats import FLOAT16
from bytecap.formats.plan import ScaleRule
from bytecap.published.rounding import ABSMAX, QUANTILE, SIGMA
from bytecap.quant.allocation import Shape
from bytecap.quant.statistics import Calibration

CLIP_QUANTILE, CLIP_FLOOR = 0.9999984, 1.0
HALF_BITS = 12
"""A 16-bit float tells the numbers below its largest apart as integers of 12 bits do: 11 digits and a sign."""
SIGMA_FLOOR = 1e-10
EMBEDDING, ATTENTION, MLP, OTHER = "embedding", "attention", "mlp", "other"
OF_TECHNIQUES = "techniques."
"""What the names of parameters begin with that a technique of ours brings."""
_WORDS = {
    EMBEDDING: ("embedding", "tok_emb", "embed_tokens", "wte", "lm_head"),
    ATTENTION: ("attention", "attn", "self_attn"),
    MLP: ("mlp", "feed_forward"),
}


@dataclass(frozen=True)
class SchemeInputs:
    """What a rule may look at besides the tensor."""

    step_scale: float
    embedding_step: float
    """The embedding's step over the matrices'."""
    blocks: int
    bits: dict[str, int]
    """Bits of the tensors that `Scheme.rank_bits` ranked, by name."""


@dataclass(frozen=True)
class Scheme:
    """The policy of one published run; its name is that of its file, or stands in the file's family."""

    summary: str
    """One line for lists."""
    rule: Callable[[Shape, SchemeInputs], ScaleRule | None]
    """How a tensor's row scales are found; None keeps it at 16 bits."""
    scalars: str = FLOAT16
    """The format of gains and other control vectors."""
    compressor: str = ZLIB
    """What the run stored its integers with."""
    calibrated: bool = False
    """It needs curvature measured on text."""
    own_size: bool = True
    """It has a size of its own; otherwise a cap must be given."""
    embedding_step: bool = False
    """The embedding's step may be set apart from the matrices'."""
    low_rank: bool = False
    """The three tensors that lost most get a low-rank correction."""
    group: tuple[int, int] | None = None
    """Bits of an integer and columns that share a scale: group-wise integers in place of a rule for rows."""
    rank_bits: Callable[[list[Shape], Calibration], dict[str, int]] | None = None
    """Bits by rank among all tensors, for `SchemeInputs.bits`."""


def locate_tensor(entry: Shape) -> tuple[str, int | None]:
    """Class and block number of a matrix or embedding, from whole parts of its dotted name.

    `blocks.3.mlp.up.weight` is (mlp, 3): the first part that is a number counts blocks, the first part that is a known
    word names the class. An embedding is known by its role, too, and so is an output head. What has
    neither is (other, None).
    """
    parts = entry.name.split(".")
    number = next((int(part) for part in parts if part.isdecimal()), None)
    if entry.role in ("embedding", "head"):
        return EMBEDDING, number
    found = (kind for part in parts for kind, words in _WORDS.items() if part in words)
    return next(found, OTHER), number


def is_embedding(entry: Shape) -> bool:
    """Return whether the tensor is the token embedding or the output head."""
    return locate_tensor(entry)[0] == EMBEDDING


def tensor_class(entry: Shape) -> str:
    """The class of a tensor: embedding, attention or MLP; ConfigError where its name tells none.

    A matrix of a technique of ours counts as attention, which schemes by class treat no worse than the MLP.
    """
    kind, _ = locate_tensor(entry)
    if kind == OTHER and entry.name.startswith(OF_TECHNIQUES):
        return ATTENTION
    if kind == OTHER:
        words = ", ".join(word for words in _WORDS.values() for word in words)
        raise ConfigError(
            f"this scheme treats MLP and attention differently and cannot tell what {entry.name} is: no part of its "
            f"name is one of {words}; rename the tensor, or choose int8, pr65, pr1394 or best_published",
            tensor=entry.name,
        )
    return kind


def block_number(entry: Shape) -> int:
    """The number of a tensor's block; ConfigError where its name has none.

    A matrix of a technique of ours that belongs to no block counts as one of the first.
    """
    _, number = locate_tensor(entry)
    if number is None and entry.name.startswith(OF_TECHNIQUES):
        return 0
    if number is None:
        raise ConfigError(
            f"this scheme treats the first and last blocks differently and cannot tell the block of {entry.name}: no "
            "part of its name is a number, as in blocks.3.mlp.up.weight; rename the tensor, or choose another scheme",
            tensor=entry.name,
        )
    return number


def scale_by_range(bits: int, inputs: SchemeInputs, clip: str = QUANTILE) -> ScaleRule:
    """The rule of March 2026: a scale from the row's range, with a floor, and rounding to nearest.

    With `clip=ABSMAX` the largest weight sets the scale and the odd integer is used.
    """
    largest = 2 ** (bits - 1) - 1
    lowest = -largest - 1 if clip == ABSMAX else -largest
    amount = CLIP_QUANTILE if clip == QUANTILE else 0.0
    return ScaleRule(
        levels=largest, lowest=lowest, clip=clip, amount=amount, floor=CLIP_FLOOR, feedback=False,
        step_scale=inputs.step_scale,
    )  # fmt: skip


def keep_half(inputs: SchemeInputs) -> ScaleRule | None:
    """A matrix that the run kept at 16 bits; once steps are scaled, integers as fine as a half at its row's maximum."""
    if inputs.step_scale == 1.0:
        return None
    return dataclasses.replace(scale_by_range(HALF_BITS, inputs, ABSMAX), floor=0.0)


def scale_by_deviation(levels: int, deviations: float) -> ScaleRule:
    """The rule from April 2026 on: a clip in standard deviations of the row, and GPTQ."""
    floor = SIGMA_FLOOR * levels  # the runs put it on the scale
    return ScaleRule(levels=levels, lowest=-levels, clip=SIGMA, amount=deviations, floor=floor, feedback=True)
