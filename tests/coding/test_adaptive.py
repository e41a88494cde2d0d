"""Small integers survive the adaptive coder and take about as many bits as they hold."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytecap.coding.adaptive import MAX_REFERENCES, decode_arrays, encode_arrays
from bytecap.core.errors import FormatError

ARRAYS = st.lists(st.lists(st.integers(-(1 << 20), 1 << 20) | st.integers(-3, 3), max_size=60), max_size=5)


@settings(max_examples=150)
@given(ARRAYS)
def test_round_trip(values: list[list[int]]) -> None:
    """Every array, each once more behind itself."""
    arrays = [np.array(one, np.int64) for one in [*values, *values]]
    found = decode_arrays(encode_arrays(arrays), [one.size for one in arrays])
    assert [one.tolist() for one in found] == [*values, *values]


@pytest.mark.parametrize("tail", [1, 18, 100, 3_000])
def test_long_tails(tail: int) -> None:
    """What next to nothing is left to say about, behind numbers that take some bits."""
    rng = np.random.default_rng(tail)
    for scale in (0.5, 3.0, 50.0):
        for last in (0, 7):
            array = np.rint(np.concatenate([rng.normal(size=40) * scale, np.full(tail, last)])).astype(np.int64)
            (found,) = decode_arrays(encode_arrays([array]), [array.size])
            assert found.tolist() == array.tolist()


def test_near_entropy() -> None:
    """Within 6 % of the entropy for a thousand codes of a narrow distribution; rising values go as differences."""
    values = np.rint(np.random.default_rng(0).normal(size=1000) * 3).astype(int)
    counts = np.bincount(values - values.min())
    entropy = -(counts[counts > 0] * np.log2(counts[counts > 0] / 1000)).sum() / 8
    assert len(encode_arrays([values])) < 1.06 * entropy
    assert len(encode_arrays([values + 500])) < 1.06 * entropy + 8
    assert len(encode_arrays([np.arange(5000)])) < 60


def test_an_array_is_predicted_by_an_earlier_one() -> None:
    """The same again, shifted, halved and turned around cost next to nothing, however many stand in between."""
    rng = np.random.default_rng(1)
    values = rng.integers(-40, 41, 500)
    others = [rng.integers(0, 2, size) for size in range(1, 40)]
    alone = len(encode_arrays([values, *others]))
    for again in (values + 7, values >> 1, -2 * values):
        assert len(encode_arrays([values, *others, again])) < alone + 100
    between = [rng.integers(-1, 2, 500) for _ in range(MAX_REFERENCES)]
    assert len(encode_arrays([values, *between, values])) > len(encode_arrays([values, *between[1:], values]))


def test_pinned_bytes_still_decode() -> None:
    """Bytes written once decode for ever: alone, as differences, by the array before."""
    arrays = [np.array([0, 1, -1, 5, -40, 0, 0, 2]), np.arange(100, 140), 2 * np.arange(40)]
    assert encode_arrays(arrays).hex() == GOLDEN
    found = decode_arrays(bytes.fromhex(GOLDEN), [8, 40, 40])
    assert [one.tolist() for one in found] == [array.tolist() for array in arrays]


GOLDEN = "1fe2b7f0ff3fff79520844d2ffffeb450c0958c5bffff56cf8"


def test_noise_is_refused_or_decoded_but_never_endless() -> None:
    """Any bytes end in arrays or in a FormatError, and numbers stay within bounds."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = rng.integers(0, 256, 40).astype(np.uint8).tobytes()
        with contextlib.suppress(FormatError):
            found = decode_arrays(data, [9] * 8)
            assert all(one.size == 9 and np.abs(one).max() < 1 << 40 for one in found)
    with pytest.raises(FormatError, match="cut short"):
        decode_arrays(encode_arrays([rng.integers(-9, 9, 50)]), [1 << 30])  # refused long before it is read
    with pytest.raises(FormatError, match="do not end where"):
        decode_arrays(encode_arrays([rng.integers(-9, 9, 50)]) + b"\1" * 9, [50])
    with pytest.raises(FormatError, match=r"cut short|too large|impossible way"):
        decode_arrays(b"\xff\x00\xa7", [4000])
