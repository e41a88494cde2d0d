"""Blocks of integers whose size varies by row and column, coded close to their entropy.

In:   blocks: integers (O, I), the root mean square of each row and column in quarter octaves (their rms classes), and
      how parities drive the trellis down the columns.
Out:  bytes that hold the blocks' integers; the rms classes and the trellis must be known to the reader.

A context is the rms class of a weight (that of its row plus that of its column) with the coset that the trellis is
on. Tables are static: counted once, sent in front.

Letters: O rows, I columns, C contexts, M magnitude tokens.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bytecap.coding.adaptive import decode_arrays, encode_arrays
from bytecap.coding.cost import adaptive_bytes
from bytecap.coding.lanes import LaneDecoder, LaneEncoder
from bytecap.coding.tables import TOTAL, codes_of, make_frequencies, make_intervals
from bytecap.coding.tokens import (
    EXTRA_WIDTHS,
    MAGNITUDES,
    extra_bits,
    extra_count,
    from_tokens,
    magnitude_tokens,
    to_tokens,
)
from bytecap.core.errors import FormatError

MIN_CLASS, MAX_CLASS = -28, 56
"""Quarter octaves of the root mean square: 2^-7 to 2^14."""
CLASSES = MAX_CLASS - MIN_CLASS + 1
MAX_LANES, MIN_LANE_SYMBOLS = 1024, 16_000
"""More lanes decode faster, but each costs 2 bytes: about 0.02 % of a section."""
MAX_TABLE_BYTES = 1 << 17
_CHUNK = 1 << 20
"""Integers that are put together at once: a reader needs little more memory than they themselves."""
ALIKE = 0.06
"""Added to each square: rows of few small integers become alike, for to tell them apart costs more than it gives."""
_HEAD = struct.Struct("<HBIII")
"""Lanes, classes merged into one (as a power of two), bytes of tables, of lanes, of extra bits."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RmsClasses:
    """What a reader must know of a block before its first integer."""

    rows_O: Ints
    columns_I: Ints
    next_states: npt.NDArray[np.uint8]
    """(S, 2), one row of zeros without a trellis."""

    @property
    def size(self) -> int:
        """Integers of the block."""
        return self.rows_O.size * self.columns_I.size

    def every(self) -> Ints:
        """(O, I): class of every integer, from 0."""
        return self._clipped(self.rows_O[:, None])

    def in_row(self, row: int) -> Ints:
        """(I,): class of every integer of one row."""
        return self._clipped(self.rows_O[row])

    def _clipped(self, rows: Ints) -> Ints:
        return (rows + self.columns_I).clip(MIN_CLASS, MAX_CLASS) - MIN_CLASS


@dataclass(frozen=True)
class Block:
    """Integers with their rms classes."""

    symbols_OI: npt.NDArray[np.int16]
    cosets_OI: npt.NDArray[np.uint8]
    """Which of the two cosets of the trellis each integer lies on; zeros without a trellis."""
    classes: RmsClasses


def fit_rms_classes(symbols_OI: npt.NDArray[np.int16], next_states: npt.NDArray[np.uint8]) -> RmsClasses:
    """The rank-one scale of the squares, by alternating means, in quarter octaves."""
    squares_OI = np.square(symbols_OI, dtype=np.float32) + ALIKE
    column_I: npt.NDArray[Any] = np.ones(symbols_OI.shape[1], np.float32)
    for _ in range(3):
        row_O = (squares_OI @ (1 / column_I)) / column_I.size
        column_I = ((1 / row_O) @ squares_OI) / row_O.size
    rows, columns = (np.rint(2 * np.log2(value)).astype(np.int64) for value in (row_O, column_I))
    return RmsClasses(rows, columns, next_states)


def encode_blocks(blocks: Sequence[Block]) -> bytes:
    """All blocks as one section."""
    merged, codes_CM = _best_tables(_sum(count_tokens(block) for block in blocks))
    start, frequency = make_intervals(_full_tables(codes_CM))
    lanes = _lanes_for(sum(block.symbols_OI.size for block in blocks))
    encoder, bits = LaneEncoder(lanes), []
    for part in (part for block in reversed(blocks) for part in reversed(_parts(block))):
        entry = _contexts(part, merged).reshape(-1), to_tokens(part.symbols_OI)
        encoder.add(start[entry], frequency[entry], _steps(part.symbols_OI.shape, lanes))
        bits.append(extra_bits(part.symbols_OI))
    tables, stream = _tables_to_bytes(codes_CM), encoder.finish()
    extras = np.packbits(np.concatenate(bits[::-1])).tobytes()
    return _HEAD.pack(lanes, merged, len(tables), len(stream), len(extras)) + tables + stream + extras


def decode_blocks(data: bytes, classes: Sequence[RmsClasses]) -> list[npt.NDArray[np.int16]]:
    """The integers of each block back; FormatError when the bytes do not hold exactly these blocks."""
    if len(data) < _HEAD.size:
        raise FormatError("a coded section is cut short")
    lanes, merged, table_size, stream_size, extra_size = _HEAD.unpack_from(data)
    count = sum(one.size for one in classes)
    if not _lanes_for(count) <= lanes <= MAX_LANES or merged > 3:
        raise FormatError(f"a coded section of {count:,} integers has {lanes} lanes and merges 2^{merged} classes")
    if len(data) != _HEAD.size + table_size + stream_size + extra_size:
        raise FormatError("the parts of a coded section do not add up to its size")
    tables_end, stream_end = _HEAD.size + table_size, _HEAD.size + table_size + stream_size
    codes_CM = _tables_from_bytes(data[_HEAD.size : tables_end], merged)
    decoder = LaneDecoder(data[tables_end:stream_end], lanes, *make_intervals(_full_tables(codes_CM)))
    tokens = [_decode_block(decoder, one, merged) for one in classes]
    decoder.finish()
    bits, used = np.unpackbits(np.frombuffer(data[stream_end:], np.uint8)), 0
    for one in tokens:
        flat = one.reshape(-1)
        for begin in range(0, flat.size, _CHUNK):
            part = flat[begin : begin + _CHUNK]
            needed = bits[used : used + extra_count(part)]
            used += extra_count(part)
            if used > bits.size:
                raise FormatError("the extra bits of a coded section are cut short")
            part[:] = from_tokens(part, needed)
    if (used + 7) // 8 != extra_size or bits[used:].any():
        raise FormatError("the extra bits of a coded section do not fit its integers")
    return tokens


def most_bytes(classes: Sequence[RmsClasses]) -> int:
    """Beyond which no section of these blocks can be: a word and the extra bits of each integer are below 4 bytes."""
    return _HEAD.size + MAX_TABLE_BYTES + 4 * MAX_LANES + 4 * sum(one.size for one in classes)


def count_tokens(block: Block) -> Ints:
    """(C, M): how often each magnitude token stands in each context."""
    counts = np.zeros(2 * CLASSES * MAGNITUDES, np.int64)
    for part in _parts(block):
        tokens_OI = magnitude_tokens(np.abs(part.symbols_OI.astype(np.int32)))
        flat = (_contexts(part, 0) * MAGNITUDES + tokens_OI).reshape(-1)
        counts += np.bincount(flat, minlength=counts.size)
    return counts.reshape(2 * CLASSES, MAGNITUDES)


def section_costs(counts: Sequence[Ints]) -> list[float]:
    """Bytes of each block, from its counts, in the section that `encode_blocks` would make of them all."""
    if not counts:
        return []
    whole_CM = _sum(counts)
    merged, codes_CM = _best_tables(whole_CM)
    bits_CM = EXTRA_WIDTHS - np.log2(np.maximum(_full_tables(codes_CM), 1) / TOTAL)
    bytes_of = [float((_merge(one, merged) * bits_CM).sum()) / 8 for one in counts]
    lanes = _lanes_for(int(whole_CM.sum()))
    fixed = _HEAD.size + len(_tables_to_bytes(codes_CM)) + 2 * lanes
    whole = sum(bytes_of) + len(bytes_of)
    return [size + fixed * (size + 1) / whole for size in bytes_of]


def _decode_block(decoder: LaneDecoder, classes: RmsClasses, merged: int) -> npt.NDArray[np.int16]:
    """Signed tokens (O, I)."""
    rows, columns = classes.rows_O.size, classes.columns_I.size
    tokens_OI = np.zeros((rows, columns), np.int16)
    state_I = np.zeros(columns, np.uint8)
    for row, token_I in enumerate(tokens_OI):
        context_I = 2 * (classes.in_row(row) >> merged) + (state_I & 1)
        for begin in range(0, columns, decoder.lanes):
            token_I[begin : begin + decoder.lanes] = decoder.step(context_I[begin : begin + decoder.lanes])
        state_I = classes.next_states[state_I, ((token_I + 1) >> 1) & 1]
    return tokens_OI


def _parts(block: Block) -> list[Block]:
    """Some rows of a block at a time, about `_CHUNK` integers."""
    rows, columns = block.symbols_OI.shape
    each, classes = max(1, _CHUNK // max(columns, 1)), block.classes
    return [
        Block(
            block.symbols_OI[at : at + each], block.cosets_OI[at : at + each],
            RmsClasses(classes.rows_O[at : at + each], classes.columns_I, classes.next_states),
        )
        for at in range(0, rows, each)
    ]  # fmt: skip


def _contexts(block: Block, merged: int) -> Ints:
    return 2 * (block.classes.every() >> merged) + block.cosets_OI


def _sum(counts: Iterable[Ints]) -> Ints:
    """The counts of all blocks, without holding a stack of them."""
    whole_CM = np.zeros((2 * CLASSES, MAGNITUDES), np.int64)
    for one in counts:
        whole_CM += one
    return whole_CM


def _merge(counts_CM: Ints, merged: int) -> Ints:
    """Counts with 2^merged neighbouring classes in one."""
    by_class = counts_CM.reshape(CLASSES, 2, MAGNITUDES)
    missing = -CLASSES % (1 << merged)
    padded = np.concatenate([by_class, np.zeros((missing, 2, MAGNITUDES), np.int64)])
    summed: Ints = padded.reshape(-1, 1 << merged, 2, MAGNITUDES).sum(axis=1).reshape(-1, MAGNITUDES)
    return summed


def _best_tables(counts_CM: Ints) -> tuple[int, Ints]:
    """How many classes to merge and the codes of the tables, for the fewest bytes with the tables counted."""
    best: tuple[float, int, Ints] | None = None
    for merged in range(4):
        merged_CM = _merge(counts_CM, merged)
        codes_CM = _filled(codes_of(merged_CM), merged_CM)
        frequency_CM = _full_tables(codes_CM)
        bits = float((merged_CM * -np.log2(np.maximum(frequency_CM, 1) / TOTAL)).sum())
        size = bits / 8 + _table_bytes(codes_CM)
        if best is None or size < best[0]:
            best = (size, merged, codes_CM)
    assert best is not None
    return best[1], best[2]


def _filled(codes_CM: Ints, counts_CM: Ints) -> Ints:
    """No holes below the largest token of a context; they would cost more to send than to keep."""
    used_C = MAGNITUDES - (counts_CM[:, ::-1] > 0).argmax(axis=1)
    used_C = np.where(counts_CM.any(axis=1), used_C, 0)
    inside_CM = np.arange(MAGNITUDES) < used_C[:, None]
    return np.where(inside_CM, np.maximum(codes_CM, 1), 0)


def _full_tables(codes_CM: Ints) -> Ints:
    """Frequencies; a context that is not used holds zero alone, so that every context can be read."""
    empty_C = ~codes_CM.any(axis=1)
    filled_CM = codes_CM.copy()
    filled_CM[empty_C, 0] = 1
    return make_frequencies(filled_CM)


def _table_bytes(codes_CM: Ints) -> float:
    """About what `_tables_to_bytes` takes, far faster: the entropy of what it sends, and learning."""
    return sum(_array_bytes(array) for array in _table_arrays(codes_CM)) + 2


def _array_bytes(array: Ints) -> float:
    differences = np.diff(array, prepend=0)
    sent = differences if np.abs(differences).sum() < np.abs(array).sum() else array
    return adaptive_bytes(sent)


def _table_arrays(codes_CM: Ints) -> list[Ints]:
    """How many codes each context has, and all codes."""
    used_CM = codes_CM > 0
    return [used_CM.sum(axis=1), codes_CM[used_CM]]


def _tables_to_bytes(codes_CM: Ints) -> bytes:
    return encode_arrays(_table_arrays(codes_CM))


def _tables_from_bytes(data: bytes, merged: int) -> Ints:
    contexts = 2 * ((CLASSES + (1 << merged) - 1) >> merged)

    def all_codes(arrays: list[Ints]) -> int:
        if arrays[0].min() < 0 or arrays[0].max() > MAGNITUDES:
            raise FormatError("a probability table has an impossible length")
        return int(arrays[0].sum())

    lengths_C, flat = decode_arrays(data, [contexts, all_codes])
    codes_CM = np.zeros((contexts, MAGNITUDES), np.int64)
    codes_CM[np.arange(MAGNITUDES) < lengths_C[:, None]] = flat
    return codes_CM


def _lanes_for(count: int) -> int:
    return min(max(min(16, count // 128), count // MIN_LANE_SYMBOLS, 1), MAX_LANES)


def _steps(shape: tuple[int, ...], lanes: int) -> Ints:
    """How many tokens each step of a block holds: rows cut into pieces of at most `lanes`."""
    rows, columns = shape
    whole, rest = divmod(columns, lanes)
    return np.tile(np.array([lanes] * whole + [rest] * (rest > 0), np.int64), rows)
