"""What is wrong with a table is said with its place, and with what to do."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from bytecap.core.errors import ConfigError, DataError
from bytecap.core.settings_reader import from_authored, from_saved, from_sparse
from tests.core.test_settings import Bounded, Config


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"widht": 3}, "f: widht is not a setting .did you mean width"),
        ({"rates": {"matrx": 3}}, "f: rates.matrx is not a setting .did you mean matrix"),
        ({"\x1b[31m": 3}, r"f: '\\x1b\[31m' is not a setting"),
        ({"width": 2.5}, "f: width must be a whole number, found 2.5"),
        ({"width": True}, "f: width must be a whole number, found True"),
        ({"width": "x" * 99}, "found 'x{56}\\.\\.\\."),
        ({"softcap": math.nan}, "f: softcap is nan; it must be a finite number"),
        ({"rates": {"betas": [0.1, math.inf]}}, "f: rates.betas is inf; it must be a finite number"),
        ({"softcap": 10**400}, "f: softcap is too large"),
        ({"width": "1"}, "must be a whole number, found '1'"),
        ({"size": 1.5}, "must be a whole number or text, found 1.5"),
        ({"stop": "x"}, "must be a whole number, found 'x'"),
        ({"tied": 1}, "must be true or false, found 1"),
        ({"labels": "date"}, "must be one of model, data, found 'date' .did you mean data"),
        ({"parts": "abc"}, "must be a list, each entry text, found 'abc'"),
        ({"parts": [1]}, "must be text, found 1"),
        ({"rates": {"betas": [0.1]}}, "must be a list of 2 entries, found a list of 1 entry"),
        ({"rates": 3}, "f: rates must be a table, found 3"),
        ({"tables": []}, "must be a table, found a list of 0 entries"),
        ({"vocab": None}, "f: vocab must be a whole number, found None"),
    ],
)
def test_wrong_entries(entry: dict[str, Any], message: str) -> None:
    """Each says where, what was found and what was needed."""
    for read in (from_saved, from_sparse, from_authored):
        with pytest.raises(ConfigError, match=message):
            read(Config, {"vocab": 5, **entry}, origin="f")


def test_missing_and_foreign() -> None:
    """Required fields, and files that hold something else."""
    with pytest.raises(DataError, match=r"^f: vocab is missing; delete it$"):
        from_saved(Config, {}, origin="f", remedy="delete it", error=DataError)
    wrong: tuple[Any, ...] = ([], None, "text")
    for value in wrong:
        with pytest.raises(ConfigError, match=r"^f: it must be a table"):
            from_saved(Config, value, origin="f")


def test_unknown_keys_name_the_newer_version() -> None:
    """The remedy of a file from the future is the program of the future."""
    saved = {"written_by": "0.10.1.dev3", "vocab": 5, "los": 1}
    with pytest.raises(ConfigError, match=r"los .*mean loss\?\); the file was written by bytecap 0\.10\.1\.dev3"):
        from_saved(Config, saved, origin="f", remedy="delete it")
    assert from_saved(Config, {"written_by": "9.0", "vocab": 5}, origin="f").vocab == 5
    with pytest.raises(ConfigError, match=r"los .*did you mean loss\?\); delete it"):
        from_saved(Config, {**saved, "written_by": "0.1.9"}, origin="f", remedy="delete it")
    with pytest.raises(ConfigError, match=r"los .*mean loss\?\); a version of bytecap newer than [0-9.]+ may know it"):
        from_sparse(Config, {"vocab": 5, "los": 1}, origin="f")
    versions: tuple[Any, ...] = (3, "x", "1" * 50, "0.3\x1b[31m")
    for version in versions:
        with pytest.raises(ConfigError, match="written_by must be a version"):
            from_saved(Config, {"vocab": 5, "written_by": version}, origin="f")


def test_errors_of_a_config_name_its_table() -> None:
    """A dataclass that refuses its values is named by file and path."""

    @dataclass(frozen=True, kw_only=True)
    class Outer:
        inner: Bounded = field(default_factory=Bounded)

        def __post_init__(self) -> None:
            """ConfigError for one pair."""
            if self.inner.batch == 7:
                raise ConfigError("seven is no batch")

    with pytest.raises(ConfigError, match=r"^f: it cannot be used: seven is no batch"):
        from_saved(Outer, {"inner": {"batch": 7}}, origin="f")
