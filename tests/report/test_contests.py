"""Contests are data: the one that comes along, one of a user's own, and what is wrong with others."""

from pathlib import Path

import pytest

from bytecap.core import catalog
from bytecap.core.errors import ConfigError
from bytecap.report.contests import load_contest


def test_what_comes_along() -> None:
    """Each file can be read, and the written bar of the contest is what its README asks for."""
    for name in catalog.names("contests"):
        assert load_contest(name).bars
    bar = load_contest("parameter_golf_2026").bars["written"]
    assert (bar.nats_per_token, bar.p, bar.runs) == (0.005, 0.01, 3)


def test_own_and_wrong_ones(tmp_path: Path) -> None:
    """A path is read; an unknown name and a number that cannot be are refused."""
    path = tmp_path / "mine.toml"
    path.write_text("[bars.mine]\nnats_per_token = 0.1\n")
    assert load_contest(str(path)).bars["mine"].p == 0.05
    path.write_text("[bars.mine]\np = 2\n")
    with pytest.raises(ConfigError, match=r"bars\.mine.*p is 2"):
        load_contest(str(path))
    with pytest.raises(ConfigError, match=r"no contest 'parameter_golf' .did you mean parameter_golf_2026"):
        load_contest("parameter_golf")
