"""The hash is splitmix64's, and never the mark of an empty slot."""

from __future__ import annotations

import numpy as np

from bytecap.core.hashing import mixed

MASK = (1 << 64) - 1


def slow(key: int, value: int) -> int:
    x = (key * 0x9E3779B97F4A7C15 + value + 0x632BE59BD9B4E019) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def test_equals_whole_numbers_of_python() -> None:
    """A chain of them; the one input that gives 0 gives 1."""
    key = 1
    for value in (0, 1, 77, 65_535, 12_345):
        assert int(mixed(np.uint64(key), np.uint64(value))) == slow(key, value)
        key = slow(key, value)
    zero = -0x632BE59BD9B4E019 & MASK
    assert slow(0, zero) == 0 and int(mixed(np.uint64(0), np.uint64(zero))) == 1
