"""Integers on a trellis times a step of each row and each column: base · 2^((row code + column code) / 4).

The integers are coded with contexts: the rms class of a row, the class of the root mean square of its integers in
quarter octaves, and that of the column. What is sent is class plus step code, the spread of the weights themselves,
which is nearly constant.

Letters: O rows (outputs), I columns (inputs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.coding.adaptive import MAX_CODED_BYTES, decode_arrays, encode_arrays
from bytecap.coding.blocks import (
    Block,
    RmsClasses,
    count_tokens,
    decode_blocks,
    encode_blocks,
    fit_rms_classes,
    most_bytes,
)
from bytecap.core.errors import FormatError
from bytecap.formats.base import (
    LARGEST,
    MAX_SYMBOL,
    CodedSections,
    Parts,
    StoredFormat,
    TensorEntry,
    count_levels,
    read_steps,
)  # fmt: skip
from bytecap.formats.size_estimate import SizeEstimate, coded_bytes
from bytecap.formats.steps import CODES_PER_OCTAVE, MAX_CODE, make_steps
from bytecap.formats.trellis import CODES as CODES_OF_STATES
from bytecap.formats.trellis import SCALAR, coset_indices, next_states, to_levels

ROW_COLUMN = "row_column"
BLOCKS, CODES = "blocks.", "codes"

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
    width_axes: int = 0
    """Axes of size 1 behind the columns, as convolutions of width 1 have them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(O, I), or (O, I, 1) and so on."""
        return (*self.symbols_OI.shape, *[1] * self.width_axes)

    def steps(self) -> Floats:
        """(O, I)."""
        return make_steps(self.base, self.row_codes_O, self.column_codes_I)

    def weights(self) -> Floats:
        """(O, I), or (O, I, 1) and so on; one product of two float32 numbers, so the result is exact to the bit."""
        levels_OI = to_levels(self.symbols_OI, self.states)
        return (levels_OI.astype(np.float32) * self.steps()).reshape(self.shape)


class RowColumnFormat(StoredFormat[RowColumnQuantized]):
    """A step for each row and each column, on a trellis.

    Two axes, and any number of size 1 behind them; the detail is the states of the trellis: 1 (none), 4, 8, 16, 32, 64,
    128 or 256. A weight is level × step with step = base · P(r_o + c_i) and P(n) = M[n mod 4] · 2^(⌊n / 4⌋ − 23), M =
    8388608, 9975792, 11863283, 14107901 (2^(1/4) in units of 2^−23). base is a float32 above 0; r and c lie in −127 ..
    127; the largest step times 65,534 is at most 10^38. The level of an integer n is n without a trellis, else 2n −
    sign(n) · g with its coset g, 0 or 1 (see *Contexts and trellis*).

    Roles stand in the order of their first tensor of this format, tensors of a role in the order of the table. Coded
    section `codes`, with all of them: first a float32 base for each; then one adaptive stream with four arrays for
    each: row codes r (O numbers), column codes c (I), row spreads (O), column spreads (I). The **rms class** of a row
    is its spread minus its code, that of a column likewise; they say how large integers are expected to be. Coded
    section `blocks.<role>`: the integers of a role's tensors, as blocks.
    """

    name = ROW_COLUMN
    stored_class = RowColumnQuantized

    def detail(self, tensor: RowColumnQuantized) -> int:
        """States of the trellis."""
        return tensor.states

    def allows(self, shape: tuple[int, ...], detail: int) -> bool:
        """A matrix, or a convolution of width 1."""
        return len(shape) >= 2 and math.prod(shape[2:]) == 1 and (detail == SCALAR or detail in CODES_OF_STATES)

    def describe(self, tensor: RowColumnQuantized) -> str:
        """Levels and trellis."""
        trellis = f", trellis {tensor.states}" if tensor.states != SCALAR else ""
        return f"{count_levels(tensor.symbols_OI)} levels x row x column step{trellis}"

    def serial_numbers(self, shape: tuple[int, ...]) -> int:
        """Codes and spreads."""
        return 2 * (shape[0] + shape[1])

    def coded_sections(self, tensors: Sequence[RowColumnQuantized]) -> dict[str, bytes]:
        """Integers role by role, and what is needed to read them."""
        sections, bases, arrays = dict[str, bytes](), b"", list[npt.NDArray[np.integer]]()
        for role in dict.fromkeys(tensor.role for tensor in tensors):
            mine = [tensor for tensor in tensors if tensor.role == role]
            blocks = [make_block(tensor) for tensor in mine]
            sections[f"{BLOCKS}{role}"] = encode_blocks(blocks)
            bases += np.array([tensor.base for tensor in mine], "<f4").tobytes()
            arrays += [array for pair in zip(mine, blocks, strict=True) for array in make_codes(*pair)]
        return {**sections, CODES: bases + encode_arrays(arrays)}

    def read(
        self, entries: Sequence[TensorEntry], parts: Sequence[Parts], coded: CodedSections
    ) -> list[RowColumnQuantized]:
        """Refuse steps that make no weights; sections of several roles are decoded side by side."""
        roles = dict.fromkeys(entry.role for entry in entries)
        order = [i for role in roles for i, entry in enumerate(entries) if entry.role == role]
        bases, stream = read_steps(coded.read(CODES, at_most=MAX_CODED_BYTES), len(entries), CODES)
        arrays = decode_arrays(stream, [size for i in order for size in (*entries[i].shape[:2], *entries[i].shape[:2])])
        quads = {i: arrays[4 * place : 4 * place + 4] for place, i in enumerate(order)}
        base = {i: float(bases[place]) for place, i in enumerate(order)}
        for i, (rows, columns, *_) in quads.items():
            _check_steps(entries[i], base[i], rows, columns)
        sections = []
        for role in roles:
            mine = [i for i in order if entries[i].role == role]
            classes = [
                RmsClasses(r - rows, c - columns, next_states(entries[i].detail))
                for i in mine for rows, columns, r, c in [quads[i]]
            ]  # fmt: skip
            sections.append((mine, coded.read(f"{BLOCKS}{role}", at_most=most_bytes(classes)), classes))
        with ThreadPoolExecutor() as pool:
            decoded = list(pool.map(lambda section: decode_blocks(*section[1:]), sections))
        symbols = {
            i: one for (mine, *_), blocks in zip(sections, decoded, strict=True)
            for i, one in zip(mine, blocks, strict=True)
        }  # fmt: skip
        return [
            RowColumnQuantized(
                entry.role, symbols[i], base[i], quads[i][0].astype(np.int8), quads[i][1].astype(np.int8), entry.detail,
                len(entry.shape) - 2,
            )
            for i, entry in enumerate(entries)
        ]  # fmt: skip

    def estimate(self, tensor: RowColumnQuantized) -> SizeEstimate:
        """Counts of the tokens, and the codes as they are coded by themselves."""
        block = make_block(tensor)
        own_bytes = float(len(encode_arrays(make_codes(tensor, block))))
        return SizeEstimate(own_bytes, f"{BLOCKS}{tensor.role}", count_tokens(block))

    def section_costs(self, tensors: Mapping[str, RowColumnQuantized]) -> dict[str, dict[str, float]]:
        """The codes, and the integers of each role."""
        estimates = {name: self.estimate(tensor) for name, tensor in tensors.items()}
        costs = {CODES: {name: estimate.own_bytes for name, estimate in estimates.items()}}
        for name, size in coded_bytes(estimates).items():
            costs.setdefault(estimates[name].section, {})[name] = size - estimates[name].own_bytes
        return costs


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
