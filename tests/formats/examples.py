"""A random tensor of each stored format: what tests/contracts/test_formats.py runs over.

A new format adds one function here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bytecap.formats.base import StoredTensor
from bytecap.formats.floats import (
    FLOAT16,
    FLOAT32,
    MAX_EXPONENT,
    MIN_EXPONENT,
    SCALED_FLOAT16,
    FloatTensor,
    ScaledFloatTensor,
)
from bytecap.formats.low_rank_corrected import LOW_RANK_CORRECTED, LowRank, LowRankCorrected, group_count, low_rank_rank
from bytecap.formats.per_channel import PER_CHANNEL, PerChannelQuantized
from bytecap.formats.per_group import GROUP_SIZES, PER_GROUP, PerGroupQuantized
from bytecap.formats.per_tensor import PER_TENSOR, PerTensorQuantized
from bytecap.formats.row_column import ROW_COLUMN, RowColumnQuantized, matrix_shape
from bytecap.formats.trellis import CODES, SCALAR

SHAPES = [(), (1,), (7,), (1, 1), (3, 1), (1, 5), (33, 70), (64, 129), (2, 3, 4), (5, 4, 1), (130, 33), (9, 2, 1, 1)]
"""Odd ones too; a format takes those that it allows."""
Shape = tuple[int, ...]


def symbols(rng: np.random.Generator, shape: Shape, largest: int) -> np.ndarray:
    """Integers as weights have them: normally distributed, of rows that differ."""
    spread = rng.uniform(0.1, 0.4, (*shape[:1], *[1] * (len(shape) - 1))) * largest
    return np.rint(rng.normal(size=shape) * spread).clip(-largest, largest).astype(np.int16)


def scales(rng: np.random.Generator, shape: int | Shape) -> np.ndarray:
    """Positive numbers at 16 bits."""
    return rng.uniform(0.01, 1, shape).astype(np.float16)


def row_column(rng: np.random.Generator, shape: Shape) -> StoredTensor:
    """Any number of states, narrow and wide integers."""
    row_axes = int(rng.integers(1, len(shape)))
    matrix, axes = matrix_shape(shape, row_axes), shape if len(shape) > 2 else ()
    codes = [rng.integers(-9, 10, size).astype(np.int8) for size in matrix]
    states = int(rng.choice([SCALAR, *CODES]))
    integers = symbols(rng, matrix, int(rng.choice([1, 9, 900, 32_767])))
    return RowColumnQuantized("matrix", integers, float(np.float32(0.03)), codes[0], codes[1], states, axes, row_axes)


def per_group(rng: np.random.Generator, shape: Shape) -> StoredTensor:
    """Any size of a group and any bits; the last group is often short."""
    size, bits = int(rng.choice(GROUP_SIZES)), int(rng.integers(2, 9))
    integers = symbols(rng, shape, 2 ** (bits - 1) - 1)
    return PerGroupQuantized("matrix", integers, scales(rng, (shape[0], -(-shape[1] // size))), size)


def per_tensor(rng: np.random.Generator, shape: Shape) -> StoredTensor:
    """A few levels or many."""
    return PerTensorQuantized("scalar", symbols(rng, shape, int(rng.choice([1, 9, 32_767]))), float(np.float32(0.7)))


def per_channel(rng: np.random.Generator, shape: Shape) -> PerChannelQuantized:
    """Integers of 8 bits or 16."""
    return PerChannelQuantized("matrix", symbols(rng, shape, int(rng.choice([9, 3000]))), scales(rng, shape[0]))


def low_rank_corrected(rng: np.random.Generator, shape: Shape) -> StoredTensor:
    """Integers over the whole range of both factors."""
    rank = low_rank_rank(*shape)
    left, right = rng.integers(-2, 2, (shape[0], rank)), rng.integers(-8, 8, (rank, shape[1]))
    correction = LowRank(
        left.astype(np.int8), np.float16(0.3), right.astype(np.int8), scales(rng, group_count(*shape))
    )  # fmt: skip
    return LowRankCorrected(per_channel(rng, shape), correction)


def floats(kind: Any) -> Callable[[np.random.Generator, Shape], StoredTensor]:
    """Normally distributed numbers."""
    return lambda rng, shape: FloatTensor("scalar", np.asarray(rng.normal(size=shape), kind))


def scaled_float16(rng: np.random.Generator, shape: Shape) -> StoredTensor:
    """Any exponent."""
    return ScaledFloatTensor(
        "scalar", np.asarray(rng.normal(size=shape), np.float16), int(rng.integers(MIN_EXPONENT, MAX_EXPONENT + 1))
    )


EXAMPLES: dict[str, Callable[[np.random.Generator, Shape], StoredTensor]] = {
    ROW_COLUMN: row_column,
    PER_GROUP: per_group,
    PER_TENSOR: per_tensor,
    PER_CHANNEL: per_channel,
    LOW_RANK_CORRECTED: low_rank_corrected,
    FLOAT16: floats(np.float16),
    FLOAT32: floats(np.float32),
    SCALED_FLOAT16: scaled_float16,
}


def shapes_of(name: str) -> Iterator[Shape]:
    """The shapes that a format can have, whatever the detail."""
    from bytecap.formats.table import FORMATS

    yield from (shape for shape in SHAPES if any(FORMATS[name].allows(shape, detail) for detail in range(-1, 300)))
