"""Which blocks a setting means, as numbers or as a share that scales with the model.

In:   `4` or `"4 of 12"` for the last blocks, `"3-5"` or `"3-5 of 11"` for those between, and how many blocks there are.
Out:  the blocks, as a range.
"""

from __future__ import annotations

import re

from bytecap.core.errors import ConfigError

_SHARE = re.compile(r"([0-9]{1,4}) of ([0-9]{1,4})")
_RANGE = re.compile(r"([0-9]{1,4})-([0-9]{1,4})(?: of ([0-9]{1,4}))?")


def select_last(selector: int | str, n_layers: int) -> range:
    """The last blocks, 1 to `n_layers` of them; ConfigError for any other number.

    >>> select_last("4 of 12", n_layers=6)
    range(4, 6)
    """
    return range(n_layers - _count(selector, n_layers), n_layers)


def _count(selector: int | str, n_layers: int) -> int:
    if isinstance(selector, str):
        share = _SHARE.fullmatch(selector)
        if share is None or not 1 <= int(share[1]) <= int(share[2]):
            raise ConfigError(
                f'last_blocks is "{selector[:40]}"; it must be a number of blocks or a share such as "4 of 12"'
            )
        return max(1, _scale(int(share[1]), int(share[2]), n_layers))
    if not 1 <= selector <= n_layers:
        raise ConfigError(
            f"last_blocks is {selector}; it must lie between 1 and model.n_layers, which is {n_layers}, or be a share "
            'such as "4 of 12"'
        )
    return selector


def select_between(selector: str, n_layers: int) -> range:
    """Neighbouring blocks from 0, at least one; ConfigError for any that there are not.

    A share keeps its place: the border before its first block and the one behind its last are scaled and rounded.

    >>> select_between("3-5 of 11", n_layers=6)
    range(2, 3)
    """
    found = _RANGE.fullmatch(selector)
    first, last, of = (int(found[1]), int(found[2]), int(found[3] or n_layers)) if found else (1, 0, 0)
    if not first <= last < of:
        raise ConfigError(
            f'blocks is "{selector[:40]}"; it must be a first and a last block below model.n_layers, which is '
            f'{n_layers}, or a share such as "3-5 of 11"'
        )
    start = min(_scale(first, of, n_layers), n_layers - 1)
    return range(start, max(start + 1, _scale(last + 1, of, n_layers)))


def _scale(blocks: int, of: int, n_layers: int) -> int:
    """The same share of another number of blocks, rounded."""
    return (2 * n_layers * blocks + of) // (2 * of)
