"""Integers on a trellis times a step of each row and each column: base · 2^((row code + column code) / 4).

The integers are coded with contexts: the rms class of a row, the class of the root mean square of its integers in
quarter octaves, and that of the column. What is sent is class plus step code, the spread of the weights themselves,
which is nearly constant.

Letters: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.coding.adaptive import MAX_CODED_BYTES, decode_arrays, encode_arrays
from bytecap.coding.blocks import (
    Block,
    RmsClasses,
    count_tokens,
    fit_rms_classes,
)
from bytecap.core.errors import FormatError
from bytecap.formats.base import (
    LARGEST,
    MAX_SYMBOL,
    MAX_WIDTH,
    ROW_OF_BLOCK,
    CodedSections,
    Parts,
    StoredFormat,
    TensorEntry,
    count_levels,
    read_steps,
)
from bytecap.formats.by_role import decode_by_role, encode_by_role, role_order
from bytecap.formats.size_estimate import SizeEstimate, shared_costs
from bytecap.formats.steps import CODES_PER_OCTAVE, MAX_CODE, make_steps
from bytecap.formats.trellis import CODES as CODES_OF_STATES
from bytecap.formats.trellis import SCALAR, coset_indices, next_states, to_levels

ROW_COLUMN = "row_column"
BLOCKS, CODES = "blocks.", "codes"

ROW_AXIS = 1024
"""In the detail, for each axis of the rows after the first."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RowColumnQuantized:
    """weight[o, i] = level[o, i] * step[o, i], with the step from a base, a row code and a column code."""

    role: str
    symbols_OI: npt.NDArray[np.int16]
    base: float
    row_codes_O: npt.NDArray[np.int8]
    column_codes_I: npt.NDArray[np.int8]
    states: int
    """States of the trellis; 1 for none."""
    axes: tuple[int, ...] = ()
    """The axes of the tensor, of which the first `row_axes` are together the rows; () for those of the matrix."""
    row_axes: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I), or the axes of a kernel, whose product is that of both."""
        return self.axes or self.symbols_OI.shape

    def steps(self) -> Floats:
        """(O, I)."""
        return make_steps(self.base, self.row_codes_O, self.column_codes_I)

    def weights(self) -> Floats:
        """The axes are those of `shape`; one product of two float32 numbers each, so the result is exact to the bit."""
        weights_OI = to_levels(self.symbols_OI, self.states).astype(np.float32)
        weights_OI *= self.steps()
        return weights_OI.reshape(self.shape)


class RowColumnFormat(StoredFormat[RowColumnQuantized]):
    """A step for each row and each column, on a trellis.

    Two axes or more: the first R together, row by row, are the O rows, the others together the I columns. The detail is
    1,024 (R − 1) + the states of the trellis: 1 (none), 4, 8, 16, 32, 64, 128 or 256. A weight is level × step with
    step = base · P(r_o + c_i) and P(n) = M[n mod 4] · 2^(⌊n / 4⌋ − 23), M = 8388608, 9975792, 11863283, 14107901
    (2^(1/4) in units of 2^−23). base is a float32 above 0; r and c lie in −127 .. 127; the largest step times 65,534 is
    at most 10^38. The level of an integer n is n without a trellis, else 2n − sign(n) · g with its coset g, 0 or 1 (see
    *Contexts and trellis*).

    Roles stand in the order of their first tensor of this format, tensors of a role in the order of the table. Coded
    section `codes`, with all of them: first a float32 base for each; then one adaptive stream with four arrays for
    each: row codes r (O numbers), column codes c (I), row spreads (O), column spreads (I). The **rms class** of a row
    is its spread minus its code, that of a column likewise; they say how large integers are expected to be. Coded
    section `blocks.<role>`: the integers of a role's tensors, as blocks.
    """

    name = ROW_COLUMN
    stored_class = RowColumnQuantized

    def detail(self, tensor: RowColumnQuantized) -> int:
        """States of the trellis, and how many axes are rows."""
        return ROW_AXIS * (tensor.row_axes - 1) + tensor.states

    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """A matrix, or a kernel of any number of axes."""
        row_axes, states = row_axes_and_states(detail)
        if not 0 < row_axes < len(shape) or not (states == SCALAR or states in CODES_OF_STATES):
            return False
        return max(matrix_shape(shape, row_axes)) <= MAX_WIDTH

    def describe(self, tensor: RowColumnQuantized) -> str:
        """Levels and trellis."""
        trellis = f", trellis {tensor.states}" if tensor.states != SCALAR else ""
        return f"{count_levels(tensor.symbols_OI)} levels x row x column step{trellis}"

    def serial_numbers(self, shape: tuple[int, ...], detail: int) -> int:
        """Codes and spreads, and the rows."""
        rows, columns = matrix_shape(shape, row_axes_and_states(detail)[0])
        return 2 * (rows + columns) + ROW_OF_BLOCK * rows

    def coded_sections(self, tensors: Sequence[RowColumnQuantized]) -> dict[str, bytes]:
        """Integers role by role, and what is needed to read them."""
        gathered = [tensors[i] for i in role_order([tensor.role for tensor in tensors])]
        blocks = [make_block(tensor) for tensor in gathered]
        arrays = [array for pair in zip(gathered, blocks, strict=True) for array in make_codes(*pair)]
        codes = np.array([tensor.base for tensor in gathered], "<f4").tobytes() + encode_arrays(arrays)
        return encode_by_role(BLOCKS, [tensor.role for tensor in gathered], blocks) | {CODES: codes}

    def read(
        self, entries: Sequence[TensorEntry], parts: Sequence[Parts], coded: CodedSections
    ) -> list[RowColumnQuantized]:
        """Refuse steps that make no weights."""
        order = role_order([entry.role for entry in entries])
        gathered = [entries[i] for i in order]
        bases, stream = read_steps(coded.read(CODES, at_most=MAX_CODED_BYTES), len(entries), CODES)
        details = [row_axes_and_states(entry.detail) for entry in gathered]
        sizes = [matrix_shape(entry.shape, row_axes) for entry, (row_axes, _) in zip(gathered, details, strict=True)]
        arrays = decode_arrays(stream, [size for pair in sizes for size in (*pair, *pair)])
        steps = list(zip(bases.tolist(), arrays[::4], arrays[1::4], strict=True))
        classes = []
        for entry, (_, states), (base, rows, columns), r, c in zip(
            gathered, details, steps, arrays[2::4], arrays[3::4], strict=True
        ):
            _check_steps(entry, base, rows, columns)
            classes.append(RmsClasses(r - rows, c - columns, next_states(states)))
        tensors, integers = {}, decode_by_role(BLOCKS, [entry.role for entry in gathered], classes, coded)
        for i, entry, (row_axes, states), (base, rows, columns), symbols_OI in zip(
            order, gathered, details, steps, integers, strict=True
        ):
            codes = rows.astype(np.int8), columns.astype(np.int8)
            axes = entry.shape if len(entry.shape) > 2 else ()
            tensors[i] = RowColumnQuantized(entry.role, symbols_OI, base, *codes, states, axes, row_axes)
        return [tensors[i] for i in range(len(entries))]

    def estimate(self, tensor: RowColumnQuantized) -> SizeEstimate:
        """Counts of the tokens, and the codes as they are coded by themselves."""
        block = make_block(tensor)
        own_bytes = float(len(encode_arrays(make_codes(tensor, block))))
        return SizeEstimate(own_bytes, f"{BLOCKS}{tensor.role}", count_tokens(block))

    def section_costs(self, tensors: Mapping[str, RowColumnQuantized]) -> dict[str, dict[str, float]]:
        """The codes, and the integers of each role."""
        estimates = {name: self.estimate(tensor) for name, tensor in tensors.items()}
        return {CODES: {name: found.own_bytes for name, found in estimates.items()}} | shared_costs(estimates)


def matrix_shape(shape: tuple[int, ...], row_axes: int) -> tuple[int, int]:
    """Rows and columns of a tensor whose first axes are together the rows."""
    return math.prod(shape[:row_axes]), math.prod(shape[row_axes:])


def row_axes_and_states(detail: int) -> tuple[int, int]:
    """What a detail says."""
    return detail // ROW_AXIS + 1, detail % ROW_AXIS


def make_block(tensor: RowColumnQuantized) -> Block:
    """The integers of a tensor with the rms classes of their rows and columns, fitted to them."""
    cosets_OI = coset_indices(tensor.symbols_OI, tensor.states)
    return Block(tensor.symbols_OI, cosets_OI, fit_rms_classes(tensor.symbols_OI, next_states(tensor.states)))


def make_codes(tensor: RowColumnQuantized, block: Block) -> list[npt.NDArray[np.integer]]:
    """Step codes of rows and columns, then their spreads: rms class plus step code."""
    rows, columns = tensor.row_codes_O.astype(np.int64), tensor.column_codes_I.astype(np.int64)
    return [rows, columns, block.classes.rows_O + rows, block.classes.columns_I + columns]


def _check_steps(entry: TensorEntry, base: float, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> None:
    if max(np.abs(rows).max(), np.abs(columns).max()) > MAX_CODE:
        raise FormatError(f"a step code of tensor {entry.name} is beyond {MAX_CODE} quarter octaves")
    if base * 2.0 ** (int(rows.max() + columns.max()) / CODES_PER_OCTAVE) * 2 * MAX_SYMBOL > LARGEST:
        raise FormatError(f"the steps of tensor {entry.name} are too large for 32 bits")


FORMATS = (RowColumnFormat(),)
