"""Tables of a pickle, walked through: what is there twice, in itself, or lies about its size."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytecap.convert.kinds.base import ByteLimit
from bytecap.convert.pickles import FromBuffer, PickledArray, PickledType, read_pickle, with_tensors
from bytecap.core.errors import DataError


def test_tables_that_hold_themselves(tmp_path: Path) -> None:
    """A list in itself, and tuples that double forty times, end."""
    loop: list[Any] = [np.ones(2)]
    loop.append(loop)
    for _ in range(40):
        loop = [(loop, loop)]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"w": np.ones((2, 2)), "loop": loop}))
    found = read_pickle(tmp_path / "x.pkl", ByteLimit(1000))
    assert found["w"].shape == (2, 2)


def made(shape: Any, state: Any = (3, "<", None, None, None, -1, -1, 0), name: Any = "f4") -> PickledArray:
    """An array of eight bytes, as a pickle describes it."""
    array, kind = PickledArray(), PickledType(name, False, True)
    kind.state = state
    array.state = (1, shape, kind, False, bytes(8))
    return array


def test_an_array_that_is_there_twice() -> None:
    """One tensor, so that tied weights are told as such later."""
    array = made((2,))
    found = with_tensors({"a": array, "b": (array,)}, ByteLimit(8))
    assert found["a"] is found["b"][0] and found["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (made((10**9, 10**9)), "takes more bytes than a file of this size"),
        (made((-2,)), "a size below 0"),
        (made((1.5,)), "no shape of whole numbers"),
        (made("ab"), "no shape of whole numbers"),
        (made((2,), name="O8"), "holds Python objects or records"),
        (made((2,), name=7), "holds Python objects or records"),
        (made((2,), state=(3, "?", None, None, None, -1, -1, 0)), "holds Python objects or records"),
        (PickledArray(), "was not pickled as NumPy does it"),
        (FromBuffer("text"), "was not pickled as NumPy does it"),
    ],
)
def test_arrays_that_lie(array: PickledArray, said: str) -> None:
    """One sentence each, before memory is taken."""
    with pytest.raises(DataError, match=said):
        with_tensors({"w": array}, ByteLimit(1000))
