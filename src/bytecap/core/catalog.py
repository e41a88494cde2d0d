"""The recipes, tracks, contests and rules that come with the program, as TOML files; reading them needs only
the standard library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bytecap.core.errors import ConfigError, nearest
from bytecap.core.toml import parse_toml

TABLES = ("run", "source")
"""Tables that are looked into before settings are read as a whole."""
_ONE = {"recipes": "recipe", "tracks": "track", "contests": "contest", "rules": "rule set"}
_PACKAGE = Path(__file__).resolve().parents[1]


def folder(kind: str) -> Path:
    """Where the files of `kind` (recipes, tracks, contests, rules) lie: in the installed package, or beside `src`."""
    installed = _PACKAGE / kind
    return installed if installed.is_dir() else _PACKAGE.parents[1] / kind


def names(kind: str) -> list[str]:
    """The names of all files of a kind, sorted."""
    return sorted(path.stem for path in folder(kind).glob("*.toml"))


def read(kind: str, name: str) -> dict[str, Any]:
    """The table of one file: a name of ours, or a path ending in .toml.

    ConfigError for an unknown name, with the nearest, and for one of `TABLES` that is no table.
    """
    path = Path(name) if name.endswith(".toml") else folder(kind) / f"{name}.toml"
    if not path.is_file():
        known = names(kind)
        raise ConfigError(
            f"there is no {_ONE[kind]} {name!r}{nearest(name, known)}; known: {', '.join(known)}, "
            "or give a path that ends in .toml"
        )
    table = read_toml(path)
    for key in TABLES:
        if not isinstance(table.get(key, {}), dict):
            raise ConfigError(f"{path}: {key} must be a table; write [{key}] and its settings below", key=key)
    return table


def read_toml(path: Path, remedy: str = "correct it, or give another") -> dict[str, Any]:
    """A TOML file; ConfigError with line and column, and what to do, when it is not one."""
    try:
        return parse_toml(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; {remedy}", path=str(path)) from error
