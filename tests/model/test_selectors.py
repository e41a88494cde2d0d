"""Numbers and shares of blocks."""

import pytest

from bytecap.core.errors import ConfigError
from bytecap.model.selectors import select_between, select_last


@pytest.mark.parametrize(
    ("selector", "n_layers", "blocks"),
    [(3, 5, 3), ("4 of 12", 12, 4), ("4 of 12", 2, 1), ("11 of 11", 7, 7), ("1 of 2", 5, 3)],
)
def test_counts_are_rounded_and_at_least_one(selector: int | str, n_layers: int, blocks: int) -> None:
    """Rounded to the nearest, one at least."""
    assert list(select_last(selector, n_layers)) == list(range(n_layers - blocks, n_layers))


@pytest.mark.parametrize("selector", [0, 6, -1, "0 of 4", "5 of 4", "4", "1 of 0", "a of b"])
def test_wrong_selectors_are_refused(selector: int | str) -> None:
    """With what it is and what it may be."""
    with pytest.raises(ConfigError, match=r"last_blocks is .* it must"):
        select_last(selector, 5)


@pytest.mark.parametrize(
    ("selector", "n_layers", "blocks"),
    [
        ("3-5 of 11", 11, [3, 4, 5]),
        ("3-5", 11, [3, 4, 5]),
        ("3-5 of 11", 22, [6, 7, 8, 9, 10, 11]),
        ("3-5 of 11", 4, [1]),
        ("3-5 of 11", 1, [0]),
        ("10-10 of 11", 3, [2]),
        ("0-0", 3, [0]),
        ("0-10 of 11", 7, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_ranges_scale_with_the_model(selector: str, n_layers: int, blocks: list[int]) -> None:
    """The place scales with the model, and something is left of it."""
    assert list(select_between(selector, n_layers)) == blocks


def test_neighbouring_ranges_neither_overlap_nor_leave_a_gap() -> None:
    """Borders are rounded alike from both sides, in any model that has as many blocks."""
    for n_layers in range(11, 40):
        three = [select_between(f"{selector} of 11", n_layers) for selector in ("0-2", "3-5", "6-10")]
        assert [block for blocks in three for block in blocks] == list(range(n_layers))


@pytest.mark.parametrize("selector", ["5-3", "3-5 of 5", "3", "-1-2", "3-11", "a-b", "", "0-0 of 0"])
def test_ranges_refused(selector: str) -> None:
    """With what it is and what it may be."""
    with pytest.raises(ConfigError, match=r"blocks is .* it must"):
        select_between(selector, 11)
