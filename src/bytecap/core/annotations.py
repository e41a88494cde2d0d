"""Values of JSON and TOML against Python annotations: does one fit, and what is asked for, in words.

In:   an annotation (int, float, bool, str, None, Literal, tuple, dict, dataclass or a union of them) and a value.
Out:  yes or no; words for an error.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

from bytecap.core.units import counted

WHOLE_FLOATS = 1 << 53
"""The largest float without a fraction that may stand for an integer."""
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def is_union(hint: Any) -> bool:
    """Return whether an annotation leaves a choice between types."""
    return typing.get_origin(hint) in (Union, types.UnionType)


def fits(hint: Any, value: Any) -> bool:
    """Return whether a value may stand where an annotation asks for `hint`."""
    if hint is Any:
        return True
    if is_choice(hint):
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(hint))
    kind = typing.get_origin(hint) or hint
    if kind in (dict, tuple, Mapping) or dataclasses.is_dataclass(kind):
        return isinstance(value, (list, tuple)) if kind is tuple else isinstance(value, Mapping)
    if isinstance(value, bool):
        return kind is bool
    if kind is int and isinstance(value, float):
        return abs(value) <= WHOLE_FLOATS and value.is_integer()
    if kind is str and isinstance(value, str):
        return is_utf8(value)
    return isinstance(value, (int, float) if kind is float else kind) if isinstance(kind, type) else False


def is_utf8(text: str) -> bool:
    """Return whether a text can be written as UTF-8: no letter stands for half of one, or for a stray byte."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def is_choice(hint: Any) -> bool:
    """Return whether an annotation lists the values themselves."""
    return typing.get_origin(hint) is Literal


def describe(hint: Any) -> str:
    """What an annotation asks for, in words."""
    kind, of = typing.get_origin(hint), typing.get_args(hint)
    if is_choice(hint):
        return f"one of {', '.join(map(str, of))}"
    if is_union(hint):
        return " or ".join(describe(option) for option in of if option is not type(None))
    if kind is tuple:
        return (
            f"a list of {counted(len(of), 'entry', 'entries')}"
            if of[1:] != (Ellipsis,)
            else f"a list, each entry {describe(of[0])}"
        )
    return "a table" if kind in (dict, Mapping) or dataclasses.is_dataclass(hint) else _WORDS.get(hint, "another value")


def shown(value: Any) -> str:
    """A value found in a file, short enough for one line and safe to print."""
    if isinstance(value, (Mapping, list, tuple)):
        return f"a {'table' if isinstance(value, Mapping) else 'list'} of {counted(len(value), 'entry', 'entries')}"
    if isinstance(value, int) and abs(value) > WHOLE_FLOATS**4:
        return "a number of more than 60 digits"
    if isinstance(value, str) and not is_utf8(value):
        return "text that is not UTF-8"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
