"""A contest's bar: how much lower a loss must be, and how sure, before a result counts as a new record.

In:   a TOML file of `contests/`, or a path.
Out:  a Contest with its bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bytecap.core import catalog
from bytecap.core.settings import bounds, check_bounds, tables_by_name
from bytecap.core.settings_reader import from_authored


@dataclass(frozen=True, kw_only=True)
class BarConfig:
    """One bar, asked of the mean over seeds by Welch's test in one direction."""

    nats_per_token: float = field(default=0.0, metadata=bounds(0.0))
    """The loss must be lower by more than this."""
    p: float = field(default=0.05, metadata=bounds(0.0, 1.0))
    """Probability that may be left to chance, where the true gain is no more than `nats_per_token`."""
    runs: int = field(default=2, metadata=bounds(2))
    """Fewest runs on each side."""

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers out of bounds."""
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class ContestConfig:
    """The bars of a contest, and where they are written."""

    summary: str = ""
    """One line for people."""
    url: str = ""
    """The place where the rules stand."""
    bars: Mapping[str, BarConfig] = field(default_factory=dict, metadata=tables_by_name(lambda _: BarConfig))
    """The bars by name."""


def load_contest(name: str) -> ContestConfig:
    """A contest by a name of ours or a path that ends in .toml; ConfigError names the nearest."""
    return from_authored(ContestConfig, catalog.read("contests", name), origin=f"contest {name}")
