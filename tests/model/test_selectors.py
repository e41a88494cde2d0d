"""Numbers and shares of blocks."""

import pytest

from bytecap.core.errors import ConfigError
from bytecap.model.selectors import block_count


@pytest.mark.parametrize(
    ("selector", "n_layers", "blocks"),
    [(3, 5, 3), ("4 of 12", 12, 4), ("4 of 12", 2, 1), ("11 of 11", 7, 7), ("1 of 2", 5, 3)],
)
def test_count(selector: int | str, n_layers: int, blocks: int) -> None:
    """Rounded to the nearest, one at least."""
    assert block_count(selector, n_layers) == blocks


@pytest.mark.parametrize("selector", [0, 6, -1, "0 of 4", "5 of 4", "4", "1 of 0", "a of b"])
def test_refused(selector: int | str) -> None:
    """With what it is and what it may be."""
    with pytest.raises(ConfigError, match="it must"):
        block_count(selector, 5)
