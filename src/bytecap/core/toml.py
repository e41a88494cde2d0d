"""TOML both ways: texts read with one kind of error, single values written.

In:   a TOML text; or a value of numbers, texts, lists and tables.
Out:  its table; or the words that stand for the value behind an equals sign.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text; ValueError for anything wrong with it, endless nesting and digits included."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def toml_value(value: Any) -> str:
    """A value as TOML, on one line; entries of tables that are None are left out.

    >>> toml_value({"paths": ["a", "b"], "strict": True, "length": None})
    '{"paths" = ["a", "b"], "strict" = true}'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{"".join(map(_escaped, value))}"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, Mapping):
        pairs = (f"{toml_value(key)} = {toml_value(entry)}" for key, entry in value.items() if entry is not None)
        return "{" + ", ".join(pairs) + "}"
    return repr(value)


def _escaped(letter: str) -> str:
    return _ESCAPES.get(letter) or (letter if letter.isprintable() else f"\\U{ord(letter):08x}")
