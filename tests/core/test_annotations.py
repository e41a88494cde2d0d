"""What fits an annotation, and how it is told."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from bytecap.core.annotations import describe, fits, shown


@dataclass
class Table:
    """Any dataclass."""


@pytest.mark.parametrize(
    ("hint", "fitting", "others"),
    [
        (int, (0, -3, 8.0), (True, 8.5, "8", None, 1e300, float("inf"), float("nan"))),
        (float, (0, 0.5, float("inf")), (False, "0.5", None)),
        (bool, (True, False), (0, 1, "true")),
        (str, ("", "a", "\U0001f600"), (1, None, ["a"], "\udcff", "a\ud800")),
        (type(None), (None,), (0, "", False)),
        (Literal["a", 1], ("a", 1), ("b", True, 1.0)),
        (tuple[int, ...], ([], (1,)), ("ab", {}, 3)),
        (dict[str, int], ({}, {"a": "x"}), ([], "ab")),
        (Table, ({},), ([], None, 3)),
        (Any, (None, 3, []), ()),
    ],
)
def test_values_are_checked_against_types(hint: Any, fitting: tuple[Any, ...], others: tuple[Any, ...]) -> None:
    """Whole floats are integers, booleans are no numbers, text is no list; entries are looked at later."""
    assert all(fits(hint, value) for value in fitting) and not any(fits(hint, value) for value in others)


def test_types_in_plain_words() -> None:
    """Types for people."""
    assert describe(int | str | None) == "a whole number or text"
    assert describe(tuple[float, float]) == "a list of 2 entries"
    assert describe(tuple[str, ...]) == "a list, each entry text"
    assert describe(Literal["a", "b"]) == "one of a, b"
    assert describe(dict[str, Any]) == describe(Table) == "a table"
    assert describe(bytes) == "another value"


def test_values_are_shown_in_one_short_line() -> None:
    """One short line without control characters, whatever it is."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "a list of 1 entry" and shown({}) == "a table of 0 entries"
    assert shown(10**5000) == "a number of more than 60 digits"
    assert shown("a\udcff") == "text that is not UTF-8"
    assert shown("\x1b[31m" + "x" * 99).isprintable() and len(shown("x" * 99)) == 60
