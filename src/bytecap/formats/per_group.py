"""Symmetric integers with a 16-bit scale for each group of neighbouring columns of a row, as 4-bit models are shared.

The largest magnitude of a group becomes the largest integer. Integers are coded with the rms classes of their rows and
columns as contexts: a column that is small compared with the others of its group has small integers.

Letters: O rows (outputs), I columns (inputs), G groups of a row.
Source:  group-wise round to nearest as in GPTQ, arXiv 2210.17323 (the baseline RTN), and ZeroQuant, arXiv 2206.01861.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bytecap.coding.adaptive import MAX_CODED_BYTES, decode_arrays, encode_arrays
from bytecap.coding.blocks import Block, RmsClasses, count_tokens, fit_rms_classes
from bytecap.core.errors import FormatError
from bytecap.formats.base import (
    ROW_OF_BLOCK,
    CodedSections,
    Parts,
    Plain,
    StoredFormat,
    StoredTensor,
    TensorEntry,
    count_levels,
    read_floats,
)
from bytecap.formats.by_role import decode_by_role, encode_by_role
from bytecap.formats.floats import to_float16
from bytecap.formats.size_estimate import SizeEstimate, shared_costs
from bytecap.formats.trellis import SCALAR, next_states

if TYPE_CHECKING:
    from bytecap.formats.plan import TensorPlan

PER_GROUP = "per_group"
GROUP_SIZES, MIN_BITS, MAX_BITS = (32, 64, 128), 2, 8
MAX_GROUP_SYMBOL = 2 ** (MAX_BITS - 1) - 1
BLOCKS, CLASSES, SCALES = "group_blocks.", "group_classes", Plain("group_scales", 2)


@dataclass(frozen=True)
class PerGroupQuantized:
    """weight[o, i] = symbols[o, i] * scale[o, i // group_size]."""

    role: str
    symbols_OI: npt.NDArray[np.int16]
    scales_OG: npt.NDArray[np.float16]
    group_size: int
    """Columns of a group; the last group of a row may have fewer."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I)."""
        return self.symbols_OI.shape

    def weights(self) -> npt.NDArray[np.float32]:
        """(O, I); one product of two float32 numbers each, so the result is exact to the bit."""
        scales_OI = np.repeat(self.scales_OG.astype(np.float32), self.group_size, axis=1)[:, : self.shape[1]]
        weights: npt.NDArray[np.float32] = self.symbols_OI.astype(np.float32) * scales_OI
        return weights


class PerGroupFormat(StoredFormat[PerGroupQuantized]):
    """One scale for each group of columns.

    Two axes; the detail is the group size g: 32, 64 or 128. A weight is n_oi × s with s the float16 number ⌊i / g⌋ of
    row o, of ⌈I / g⌉; n lies in −127 .. 127.

    Plain section `group_scales`: the scales, row by row; finite. Coded section `group_classes`: one adaptive stream
    with two arrays for each tensor, in the order of the table: the rms classes of its rows (O numbers) and of its
    columns (I). Coded section `group_blocks.<role>`: the integers of the role's tensors in the order of the table, as
    blocks without a trellis.
    """

    name = PER_GROUP
    stored_class = PerGroupQuantized

    def detail(self, tensor: PerGroupQuantized) -> int:
        """Columns of a group."""
        return tensor.group_size

    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """A matrix."""
        return len(shape) == 2 and detail in GROUP_SIZES

    def describe(self, tensor: PerGroupQuantized) -> str:
        """Levels and group."""
        return f"{count_levels(tensor.symbols_OI)} levels x scale of {tensor.group_size} columns"

    def serial_numbers(self, shape: tuple[int, ...], detail: int) -> int:
        """Classes, and the rows."""
        return shape[0] + shape[1] + ROW_OF_BLOCK * shape[0]

    def nearest(self, plan: TensorPlan, weight: npt.NDArray[np.float32]) -> StoredTensor:
        """Integers of `plan.bits` bits without the odd one below; a group whose float16 scale is 0 becomes zeros."""
        (rows, columns), size, published = weight.shape, plan.group_size, 2 ** (plan.bits - 1) - 1
        largest = max(1, round(published / plan.step_scale))
        groups = -(-columns // size)
        padded = np.pad(np.abs(weight), ((0, 0), (0, groups * size - columns))).reshape(rows, groups, size)
        with np.errstate(over="ignore"):  # looked for right below
            scales_OG = (padded.max(axis=2) / np.float32(published) * np.float32(plan.step_scale)).astype(np.float16)
        if not np.isfinite(scales_OG).all():
            return to_float16(plan.role, weight)
        scales_OI = np.repeat(scales_OG.astype(np.float32), size, axis=1)[:, :columns]
        symbols_OI = np.rint(weight / np.where(scales_OI > 0, scales_OI, np.inf)).clip(-largest, largest)
        return PerGroupQuantized(plan.role, symbols_OI.astype(np.int16), scales_OG, size)

    def plain_sizes(self, entry: TensorEntry) -> dict[Plain, int]:
        """Scales."""
        return {SCALES: 2 * entry.shape[0] * -(-entry.shape[1] // entry.detail)}

    def plain_parts(self, tensor: PerGroupQuantized) -> dict[Plain, bytes]:
        """Scales."""
        return {SCALES: tensor.scales_OG.astype("<f2").tobytes()}

    def coded_sections(self, tensors: Sequence[PerGroupQuantized]) -> dict[str, bytes]:
        """Integers role by role, and their classes."""
        blocks = [_make_block(tensor) for tensor in tensors]
        arrays = [array for block in blocks for array in (block.classes.rows_O, block.classes.columns_I)]
        return encode_by_role(BLOCKS, [t.role for t in tensors], blocks) | {CLASSES: encode_arrays(arrays)}

    def read(
        self, entries: Sequence[TensorEntry], parts: Sequence[Parts], coded: CodedSections
    ) -> list[PerGroupQuantized]:
        """Refuse classes and integers that no writer makes."""
        stream = coded.read(CLASSES, at_most=MAX_CODED_BYTES)
        arrays = decode_arrays(stream, [size for entry in entries for size in entry.shape])
        table = next_states(SCALAR)
        classes = [RmsClasses(rows, columns, table) for rows, columns in zip(arrays[::2], arrays[1::2], strict=True)]
        tensors = []
        for entry, part, symbols_OI in zip(
            entries, parts, decode_by_role(BLOCKS, [entry.role for entry in entries], classes, coded), strict=True
        ):
            if np.abs(symbols_OI).max() > MAX_GROUP_SYMBOL:
                raise FormatError(f"an integer of tensor {entry.name} does not fit {MAX_BITS} bits")
            scales_OG = read_floats(entry, part[SCALES], "<f2").reshape(entry.shape[0], -1)
            tensors.append(PerGroupQuantized(entry.role, symbols_OI, scales_OG, entry.detail))
        return tensors

    def estimate(self, tensor: PerGroupQuantized) -> SizeEstimate:
        """Counts of the tokens, the classes as they are coded by themselves, and the scales."""
        block = _make_block(tensor)
        own_bytes = super().estimate(tensor).own_bytes
        own_bytes += len(encode_arrays([block.classes.rows_O, block.classes.columns_I]))
        return SizeEstimate(own_bytes, f"{BLOCKS}{tensor.role}", count_tokens(block))

    def section_costs(self, tensors: Mapping[str, PerGroupQuantized]) -> dict[str, dict[str, float]]:
        """Scales, classes, and the integers of each role."""
        estimates = {name: self.estimate(tensor) for name, tensor in tensors.items()}
        classes = {CLASSES: {name: float(sum(tensor.shape)) for name, tensor in tensors.items()}}
        return super().section_costs(tensors) | classes | shared_costs(estimates)


def _make_block(tensor: PerGroupQuantized) -> Block:
    cosets_OI = np.zeros(tensor.shape, np.uint8)
    return Block(tensor.symbols_OI, cosets_OI, fit_rms_classes(tensor.symbols_OI, next_states(SCALAR)))


FORMATS = (PerGroupFormat(),)
