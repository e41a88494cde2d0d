"""Blocks of integers survive, near the entropy of their classes, and nothing forged gets through."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytecap.coding.blocks import (
    MIN_CLASS,
    Block,
    RmsClasses,
    count_tokens,
    decode_blocks,
    encode_blocks,
    fit_rms_classes,
    section_costs,
)
from bytecap.core.errors import FormatError

FREE = np.zeros((1, 2), np.uint8)
TRELLIS = np.array([[0, 2], [3, 1], [1, 3], [2, 0]], np.uint8)


def block(symbols: np.ndarray, table: np.ndarray = FREE) -> Block:
    grids = np.zeros(symbols.shape, np.uint8)
    for j in range(symbols.shape[1]):
        state = 0
        for i in range(symbols.shape[0]):
            grids[i, j] = state & 1
            state = table[state, symbols[i, j] & 1]
    return Block(symbols, grids, fit_rms_classes(symbols, table))


def normal(rows: int, columns: int, scale: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scales = scale * np.exp(rng.normal(size=(rows, 1)) * 0.7 + rng.normal(size=columns) * 0.5)
    return np.rint(rng.normal(size=(rows, columns)) * scales).clip(-32767, 32767).astype(np.int16)


@settings(max_examples=40)
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([0.0, 0.1, 2.0, 90.0, 9000.0]), st.booleans())
def test_round_trip(rows: int, columns: int, scale: float, trellis: bool) -> None:
    """Any shape and size, two blocks in one section; the cost is close to what was written.

    Of a few integers the tables are nearly all that is written, and their estimate is good to some 100 bytes.
    """
    table = TRELLIS if trellis else FREE
    blocks = [block(normal(rows, columns, scale, seed), table) for seed in (0, 1)]
    data = encode_blocks(blocks)
    found = decode_blocks(data, [one.classes for one in blocks])
    assert all(np.array_equal(a, b.symbols_OI) for a, b in zip(found, blocks, strict=True))
    assert abs(sum(section_costs([count_tokens(one) for one in blocks])) - len(data)) < 150 + 0.02 * len(data)


def test_near_the_entropy_of_the_classes() -> None:
    """Half a megabyte of integers: at most 1.5 % above the entropy within each class and grid, tables included."""
    one = block(normal(512, 512, 3.0), TRELLIS)
    contexts = 2 * one.classes.every() + one.cosets_OI
    entropy = 0.0
    for context in np.unique(contexts):
        counts = np.unique(one.symbols_OI[contexts == context], return_counts=True)[1]
        entropy -= (counts * np.log2(counts / counts.sum())).sum() / 8
    assert len(encode_blocks([one])) < 1.015 * entropy


def test_scales_are_rank_one() -> None:
    """Rows and columns that differ by factors of four are found; a zero row is far below, not further than it pays."""
    rng = np.random.default_rng(0)
    symbols = np.rint(rng.normal(size=(40, 50)) * np.array([64.0, 16.0])[np.arange(40) % 2][:, None]).astype(np.int16)
    symbols[5] = 0
    found = fit_rms_classes(symbols, FREE)
    rows, columns = found.rows_O, found.columns_I
    assert abs(np.median(rows[0::2]) - np.median(rows[1:40:2]) - 8) <= 1 and np.abs(columns).max() <= 3
    assert MIN_CLASS < rows[5] < np.delete(rows, 5).min() - 8


def test_pinned_bytes_still_decode() -> None:
    """Bytes written once decode for ever."""
    symbols = np.array([[3, -1, 0], [0, 2, -20], [1, 0, 70]], np.int16)
    scales = RmsClasses(np.array([7, 9, 12]), np.array([-6, -8, 8]), TRELLIS)
    one = dataclasses.replace(block(symbols, TRELLIS), classes=scales)
    assert encode_blocks([one]).hex() == GOLDEN
    assert np.array_equal(decode_blocks(bytes.fromhex(GOLDEN), [one.classes])[0], symbols)


GOLDEN = (
    "0100032100000006000000010000001f86a91027e53c3f535cc1023ffffd21bc5fc0ca366b7c431b65fbfcfc01bcb778b83104001b9830"
)


@pytest.mark.slow
def test_cut_and_changed_data_is_a_format_error() -> None:
    """Cut anywhere, changed anywhere in the head, or noise: a FormatError, never anything else."""
    one = block(normal(20, 30, 4.0), TRELLIS)
    data = encode_blocks([one])
    for end in range(0, len(data), 7):
        with pytest.raises(FormatError):
            decode_blocks(data[:end], [one.classes])
    large = block(np.full((1, 1), 40, np.int16))
    padded = bytearray(encode_blocks([large]))
    padded[-1] |= 1  # one extra bit is in use, the others of its byte must be zero
    with pytest.raises(FormatError, match="extra bits"):
        decode_blocks(bytes(padded), [large.classes])
    rng = np.random.default_rng(0)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= int(rng.integers(1, 256))
        try:
            decode_blocks(bytes(changed), [one.classes])
        except FormatError:
            continue
