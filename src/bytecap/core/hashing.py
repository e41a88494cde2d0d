"""A hash of 64 bits of numbers that come one after the other; compiled.

In:   the hash so far, one more number.
Out:  the hash of both.
"""

from __future__ import annotations

import numpy as np

from bytecap.core.compiled import compiled


@compiled()
def mixed(key: np.uint64, value: np.uint64) -> np.uint64:
    """A hash of 64 bits of a hash and one more number; never 0 (splitmix64's finalizer)."""
    x = key * np.uint64(0x9E3779B97F4A7C15) + value + np.uint64(0x632BE59BD9B4E019)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return x if x != np.uint64(0) else np.uint64(1)
