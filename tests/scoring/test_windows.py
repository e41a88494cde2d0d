"""Every position is scored once, with the context that the rule gives it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytecap.core.errors import ConfigError
from bytecap.scoring.windows import windows


@given(st.integers(0, 300), st.integers(1, 40), st.data())
def test_each_position_once(targets: int, context: int, data: st.DataObject) -> None:
    """A bitmap of scored positions is all ones; windows stay inside the stream and the context."""
    stride = data.draw(st.integers(1, context))
    scored = [0] * targets
    for start, length, skip in windows(targets, context=context, stride=stride):
        assert start >= 0 and start + length <= targets and 0 <= skip < length <= context
        for position in range(start + skip, start + length):
            scored[position] += 1
    assert scored == [1] * targets


def test_windows_score_each_position_once() -> None:
    """The first window fully, later ones only what is new, the tail once; plain windows do not overlap."""
    assert list(windows(25, context=10, stride=4)) == [(0, 10, 0), (4, 10, 6), (8, 10, 6), (12, 10, 6), (15, 10, 7)]
    assert list(windows(25, context=10, stride=10)) == [(0, 10, 0), (10, 10, 0), (20, 5, 0)]
    assert list(windows(3, context=10, stride=4)) == [(0, 3, 0)]
    for stride in (0, 11):
        with pytest.raises(ConfigError, match=r"between 1 and the context, 10"):
            list(windows(20, context=10, stride=stride))
