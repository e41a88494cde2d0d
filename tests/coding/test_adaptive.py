"""Small integers survive the adaptive coder and take about as many bits as they hold."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytecap.coding.adaptive import decode_arrays, encode_arrays
from bytecap.core.errors import FormatError

ARRAYS = st.lists(st.lists(st.integers(-(1 << 20), 1 << 20) | st.integers(-3, 3), max_size=60), max_size=5)


@settings(max_examples=150)
@given(ARRAYS)
def test_round_trip(values: list[list[int]]) -> None:
    """Every array, whatever its kind."""
    arrays = [np.array(one, np.int64) for one in values]
    kinds = [i % 2 for i in range(len(arrays))]
    found = decode_arrays(encode_arrays(arrays, kinds), [one.size for one in arrays], kinds)
    assert [one.tolist() for one in found] == values


def test_near_entropy() -> None:
    """Within 6 % of the entropy for a thousand codes of a narrow distribution; rising values go as differences."""
    values = np.rint(np.random.default_rng(0).normal(size=1000) * 3).astype(int)
    counts = np.bincount(values - values.min())
    entropy = -(counts[counts > 0] * np.log2(counts[counts > 0] / 1000)).sum() / 8
    assert len(encode_arrays([values], [0])) < 1.06 * entropy
    assert len(encode_arrays([np.arange(5000)], [0])) < 60
    assert len(encode_arrays([values, values + 1, values], [0, 0, 0])) < 1.06 * entropy + 60


def test_golden() -> None:
    """Bytes written once decode for ever."""
    arrays = [np.array([0, 1, -1, 5, -40, 0, 0, 2]), np.array([100, 101, 102, 104])]
    data = encode_arrays(arrays, [0, 1])
    assert data.hex() == GOLDEN
    assert [one.tolist() for one in decode_arrays(bytes.fromhex(GOLDEN), [8, 4], [0, 1])] == [
        a.tolist() for a in arrays
    ]


GOLDEN = "337e4febfff78d874e64fff990aa2eda6b"


def test_noise_is_refused_or_decoded_but_never_endless() -> None:
    """Any bytes end in arrays or in a FormatError."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = rng.integers(0, 256, 20).astype(np.uint8).tobytes()
        with contextlib.suppress(FormatError):
            assert decode_arrays(data, [40], [0])[0].size == 40
    with pytest.raises(FormatError, match=r"cut short|too large|impossible way"):
        decode_arrays(b"\xff\x00\xa7", [4000], [0])
