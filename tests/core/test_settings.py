"""Files outlive changes of the dataclasses that they hold."""

import json
import math
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Literal

import pytest

from bytecap.core.errors import ConfigError
from bytecap.core.settings import ANY_NUMBER, NOT_IN_DIGEST, NOT_SAVED, bounds, check_bounds, history
from bytecap.core.settings_reader import from_authored, from_saved, from_sparse
from bytecap.core.settings_writer import digest_settings, to_canonical, to_full, to_saved, to_sparse


@dataclass(frozen=True, kw_only=True)
class Rates:
    """A table in a table."""

    matrix: float = 0.04
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass(frozen=True, kw_only=True)
class Config:
    """One field of each kind."""

    vocab: int
    name: str = "gpt"
    width: int = 8
    softcap: float = 30.0
    tied: bool = True
    stop: int | None = None
    size: int | str = 100
    labels: Literal["model", "data"] = "model"
    parts: tuple[str, ...] = ("a", "b")
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    loss: float = field(default=math.nan, metadata=ANY_NUMBER)
    summary: str = field(default="", metadata=NOT_IN_DIGEST)
    folder: str = field(default="", metadata=NOT_SAVED)


CHANGED = Config(
    vocab=5, softcap=15, stop=3, size="16MB", labels="data", parts=(), tables={"z": {"k": 1}, "a": {}},
    rates=Rates(betas=(0.9, 0.99)), loss=2.5, summary="mine",
)  # fmt: skip


def test_only_what_differs_is_written_and_everything_comes_back() -> None:
    """Through JSON text, with the version that wrote it."""
    assert to_saved(Config(vocab=5)) == {"written_by": "0.2.0", "vocab": 5}
    saved = json.loads(json.dumps(to_saved(CHANGED)))
    assert set(saved) == {
        "written_by", "vocab", "softcap", "stop", "size", "labels", "parts", "tables", "rates", "loss", "summary",
    }  # fmt: skip
    assert saved["rates"] == {"betas": [0.9, 0.99]}
    back = from_saved(Config, saved, origin="file")
    assert back == CHANGED and isinstance(back.softcap, float)
    assert from_sparse(Config, to_sparse(CHANGED), origin="file") == CHANGED
    assert from_saved(Config, to_full(CHANGED), origin="file") == CHANGED
    assert to_full(Config(vocab=5))["rates"] == {"matrix": 0.04, "betas": [0.9, 0.95]}


def test_a_new_field_changes_no_digest_and_no_file() -> None:
    """The class of the next version reads the old file, and gives it the old digest."""
    fields: list[Any] = [("dropout", float, field(default=0.0)), ("more", Rates, field(default_factory=Rates))]
    newer = make_dataclass("Config", fields, bases=(Config,), frozen=True, kw_only=True)
    assert from_saved(newer, to_saved(CHANGED), origin="file").dropout == 0.0
    grown = newer(**{name: getattr(CHANGED, name) for name in Config.__dataclass_fields__})
    assert digest_settings(grown) == digest_settings(CHANGED)
    assert to_saved(grown) == to_saved(CHANGED)
    assert digest_settings(newer(vocab=5, dropout=0.1)) != digest_settings(Config(vocab=5))


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """`Before`, with a default changed, a name changed, a shape changed, and a field whose default is not neutral."""

    damping: float = field(default=0.02, metadata=history(first_default=0.01))
    rd_lambda: float = field(default=0.1, metadata=history(renamed=("rate", "price")))
    parts: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"a": {}},
        metadata=history(upgrade=lambda value: {name: {} for name in value} if isinstance(value, list) else value),
    )
    smoothing: int = field(default=5, metadata=history(first_default=0))


@dataclass(frozen=True, kw_only=True)
class Before:
    """The first version."""

    damping: float = 0.01
    rate: float = 0.1
    parts: tuple[str, ...] = ("a",)


def test_changed_defaults_and_names() -> None:
    """What an old file left out is what it meant then; what today's file leaves out means the same."""
    old = from_saved(Renewed, to_saved(Before()), origin="file")
    assert (old.damping, old.rd_lambda, old.smoothing) == (0.01, 0.1, 0)
    assert digest_settings(old) == digest_settings(Before())
    changed = from_saved(Renewed, to_saved(Before(damping=0.02, rate=0.3, parts=("b", "a"))), origin="file")
    assert changed == Renewed(rd_lambda=0.3, parts={"b": {}, "a": {}}, smoothing=0)
    assert to_canonical(from_saved(Renewed, {"rate": 0.3}, origin="file")) == {"rate": 0.3}
    assert from_saved(Renewed, {"price": 0.3}, origin="file").rd_lambda == 0.3
    assert to_saved(Renewed()) == {"written_by": "0.2.0", "damping": 0.02, "smoothing": 5}
    assert from_saved(Renewed, to_saved(Renewed()), origin="file") == Renewed()
    assert from_authored(Renewed, {}, origin="file") == Renewed()
    with pytest.raises(ConfigError, match="rate stands twice, also as rd_lambda"):
        from_saved(Renewed, {"rd_lambda": 1.0, "rate": 1.0}, origin="file")


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """Numbers with bounds."""

    batch: int = field(default=8, metadata=bounds(1, 1024))
    rate: float = field(default=0.1, metadata=bounds(low=0))
    shares: tuple[float, ...] = field(default=(), metadata=bounds(high=1) | history(renamed=("parts",)))

    def __post_init__(self) -> None:
        """ConfigError outside the bounds."""
        check_bounds(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 0}, "batch is 0; it must lie between 1 and 1,024"),
        ({"batch": 10**90}, "batch is a number of more than 60 digits; it must lie"),
        ({"rate": -0.5}, "rate is -0.5; it must be at least 0"),
        ({"rate": math.inf}, "rate is inf; it must be a finite number"),
        ({"shares": (0.5, 2.0)}, "shares is 2.0; it must be at most 1"),
    ],
)
def test_bounds_hold_in_python_and_in_files(values: dict[str, Any], message: str) -> None:
    """Held in Python and in files alike."""
    with pytest.raises(ConfigError, match=f"^{message}"):
        Bounded(**values)
    with pytest.raises(ConfigError, match=f"^f: {message}"):
        from_saved(Bounded, values, origin="f")
