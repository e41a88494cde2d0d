"""Which blocks a setting means, as a number or as a share that scales with the model.

In:   `4`, or `"4 of 12"`, and how many blocks there are.
Out:  how many blocks that is.
"""

from __future__ import annotations

import re

from bytecap.core.errors import ConfigError

_SHARE = re.compile(r"([0-9]{1,4}) of ([0-9]{1,4})")


def block_count(selector: int | str, n_layers: int) -> int:
    """A number of blocks, 1 to `n_layers`; ConfigError for any other.

    >>> block_count("4 of 12", n_layers=2)
    1
    """
    if isinstance(selector, str):
        share = _SHARE.fullmatch(selector)
        if share is None or not 1 <= int(share[1]) <= int(share[2]):
            raise ConfigError(f'is "{selector[:40]}"; it must be a number of blocks or a share such as "4 of 12"')
        return max(1, (2 * n_layers * int(share[1]) + int(share[2])) // (2 * int(share[2])))
    if not 1 <= selector <= n_layers:
        raise ConfigError(
            f"is {selector}; it must lie between 1 and model.n_layers, which is {n_layers}, or be a share such as "
            '"4 of 12"'
        )
    return selector
