"""Dataclasses in files that outlive the program that wrote them: recipes, model specs, checkpoints, manifests.

In:   a dataclass of plain values (numbers, text, lists, tables of them, further dataclasses).
Out:  what is known of their fields; core/settings_writer.py writes tables and digests, core/settings_reader.py reads
      tables back.

One rule: a file holds what differs from a field's *first* default, the one it had in the version that brought it, and
what is missing is read as that first default. So a new field whose first default leaves everything as it was changes no
file and no digest. Whoever changes a default later notes the first one at the field, and whoever renames a field
the old name; the digest goes on with the first default and the first name:

    @dataclass(frozen=True, kw_only=True)
    class QuantConfig:
        damping: float = field(default=0.02, metadata=history(first_default=0.01))
        rd_lambda: float = field(default=0.1, metadata=history(renamed=("rate",)))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any, TypeAlias

from bytecap.core.annotations import shown
from bytecap.core.errors import ConfigError

WRITTEN_BY = "written_by"
"""Key of the version that wrote a file; files without it are of 0.1.0."""
_FIRST_DEFAULT, _RENAMED, _UPGRADE, _LOW, _HIGH = "first_default", "renamed", "upgrade", "low", "high"
_SAVED, _IN_DIGEST, _FINITE, _TABLES = "saved", "in_digest", "finite", "tables"

Field: TypeAlias = "dataclasses.Field[Any]"


# ---- annotations of a field ----


def history(
    *, first_default: Any = MISSING, renamed: tuple[str, ...] = (), upgrade: Callable[[Any], Any] | None = None
) -> dict[str, Any]:
    """Metadata of a field that has changed since it was first saved.

    `first_default` is the default it had first, `renamed` its former names, oldest first, and `upgrade` turns a value
    of a former shape into one of today's shape and leaves today's alone.
    """
    return {_FIRST_DEFAULT: first_default, _RENAMED: renamed, _UPGRADE: upgrade}


def bounds(low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Metadata of a number, or a list of numbers, that must lie between `low` and `high`, both included."""
    return {_LOW: low, _HIGH: high}


def tables_by_name(config_class: Callable[[str], type]) -> dict[str, Any]:
    """Metadata of a mapping of names to dataclasses: `config_class(name)` gives the class, or a ConfigError.

    A table in a file switches a name on, an empty one or `true` with defaults; `false` switches it off again.
    """
    return {_TABLES: config_class}


NOT_SAVED: Mapping[str, Any] = {_SAVED: False}
"""Metadata of a field that belongs to the program that runs, not to the file."""
NOT_IN_DIGEST: Mapping[str, Any] = {_IN_DIGEST: False}
"""Metadata of a field that describes and changes no product."""
ANY_NUMBER: Mapping[str, Any] = {_FINITE: False}
"""Metadata of a measured number, which may be infinite or NaN."""


# ---- what is known of fields ----


def saved_fields(cls: Any) -> list[Field]:
    """The fields that stand in files, in their order."""
    return [field for field in dataclasses.fields(cls) if field.metadata.get(_SAVED, True)]


def in_digest(field: Field) -> bool:
    """Return whether digests cover a field."""
    covered: bool = field.metadata.get(_IN_DIGEST, True)
    return covered


def former_names(field: Field) -> tuple[str, ...]:
    """Names that the field had in older versions, oldest first."""
    names: tuple[str, ...] = field.metadata.get(_RENAMED, ())
    return names


def upgraded(field: Field, value: Any) -> Any:
    """A value of the field's former shape in today's shape."""
    upgrade = field.metadata.get(_UPGRADE)
    return value if upgrade is None else upgrade(value)


def class_by_name(field: Field) -> Callable[[str], type] | None:
    """The function from a name to its dataclass for a field of `tables_by_name`; None for any other."""
    return field.metadata.get(_TABLES)


def is_required(field: Field) -> bool:
    """Return whether a field has no default and so is always written."""
    return field.default is MISSING and field.default_factory is MISSING


def first_default(field: Field) -> Any:
    """The default that the field had in the version that brought it."""
    noted = field.metadata.get(_FIRST_DEFAULT, MISSING)
    if noted is not MISSING:
        return noted
    return field.default_factory() if callable(field.default_factory) else field.default


def check_bounds(settings: Any) -> None:
    """Raise ConfigError for a number outside the `bounds` of its field; for the `__post_init__` of a config."""
    for field in dataclasses.fields(settings):
        if reason := out_of_bounds(field, getattr(settings, field.name)):
            raise ConfigError(f"{field.name} {reason}")


def out_of_bounds(field: Field, value: Any) -> str | None:
    """What is wrong with a number: it is not finite, or outside the bounds of its field."""
    if isinstance(value, (tuple, list)):
        return next(filter(None, (out_of_bounds(field, item) for item in value)), None)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value) and field.metadata.get(_FINITE, True):
        return f"is {value}; it must be a finite number"
    low, high = field.metadata.get(_LOW), field.metadata.get(_HIGH)
    if (low is None or value >= low) and (high is None or value <= high):
        return None
    if low is None or high is None:
        limit = f"at least {low:,}" if high is None else f"at most {high:,}"
        return f"is {shown(value)}; it must be {limit}"
    return f"is {shown(value)}; it must lie between {low:,} and {high:,}"
