"""How figures of several seeds are printed; imported by the other scripts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def mean_and_half_range(values: Sequence[float], form: str = ".4f") -> str:
    """The mean, and half the range behind it where there are several values; `form` is that of the mean.

    >>> mean_and_half_range([1.0, 1.5]), mean_and_half_range([-0.25], "+.2f")
    ('1.2500 ± 0.2500', '-0.25')
    """
    mean = format(statistics.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {format((max(values) - min(values)) / 2, form.lstrip('+'))}"
