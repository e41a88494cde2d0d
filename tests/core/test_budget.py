"""A cap, a reserve, and what is left for the file."""

import pytest

from bytecap.core.budget import FileBudget, refuse_small_cap, slack_bytes
from bytecap.core.errors import BudgetError, ConfigError


def test_the_reserve_is_taken_off() -> None:
    """The file may have what the reserve leaves."""
    assert FileBudget(1_000, 400).file_bytes == 600 and FileBudget(7).file_bytes == 7


@pytest.mark.parametrize(
    ("cap", "reserve", "message"),
    [(0, 0, "leaves nothing"), (10, 10, "10 reserved leaves nothing"), (10, -1, "negative")],
)
def test_nothing_left(cap: int, reserve: int, message: str) -> None:
    """Refused with both numbers."""
    with pytest.raises(ConfigError, match=message):
        FileBudget(cap, reserve)


def test_slack_and_refusal() -> None:
    """64 bytes or 0.02 %, whichever is more; one byte too few is too few."""
    assert (slack_bytes(1_000), slack_bytes(10_000_000)) == (64, 2_000)
    refuse_small_cap(100, 100)
    with pytest.raises(BudgetError, match="at least 101 bytes"):
        refuse_small_cap(101, 100)
    with pytest.raises(BudgetError, match=r"most of it is kept at 16 bits or more \(a, b, c, d, e, \.\.\)"):
        refuse_small_cap(101, 100, "abcdef")
    with pytest.raises(BudgetError, match=r"rounded to zero \(big 1,900, header 50\)\. Raise"):
        refuse_small_cap(2_001, 2_000, parts=[("big", 1_900), ("header", 50)])
    with pytest.raises(BudgetError, match=r"\(p0 9, p1 8, p2 7, p3 6, p4 5, \.\.\)"):
        refuse_small_cap(101, 100, parts=[(f"p{i}", 9 - i) for i in range(7)])
