"""Dataclasses in files that outlive the program that wrote them: recipes, model specs, checkpoints, manifests.

In:   a dataclass of plain values (numbers, text, lists, tables of them, further dataclasses).
Out:  a table for TOML or JSON, and a digest; core/settings_reader.py reads tables back.

One rule: a file holds what differs from a field's *first* default, the one it had in the version that brought it, and
what is missing is read as that first default. So a new field whose first default leaves everything as it was changes no
file and no digest. Whoever changes a default later notes the first one beside the field, and whoever renames a field
the old name; the digest goes on with the first default and the first name:

    @dataclass(frozen=True, kw_only=True)
    class QuantConfig:
        damping: float = field(default=0.02, metadata=history(first_default=0.01))
        rd_lambda: float = field(default=0.1, metadata=history(renamed=("rate",)))
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any, TypeAlias

from bytecap.core.annotations import shown
from bytecap.core.digest import digest_json
from bytecap.core.errors import ConfigError
from bytecap.core.version import __version__

WRITTEN_BY = "written_by"
"""Key of the version that wrote a file; files without it are of 0.1.0."""
_FIRST_DEFAULT, _RENAMED, _UPGRADE, _LOW, _HIGH = "first_default", "renamed", "upgrade", "low", "high"
_SAVED, _IN_DIGEST, _FINITE, _TABLES = "saved", "in_digest", "finite", "tables"

Field: TypeAlias = "dataclasses.Field[Any]"


# ---- what stands beside a field ----


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


# ---- writing ----


def to_saved(value: Any) -> dict[str, Any]:
    """The table of a file: the version that writes it, and what differs from the first defaults."""
    return {WRITTEN_BY: __version__, **to_sparse(value)}


def to_sparse(value: Any) -> dict[str, Any]:
    """What differs from the first defaults, as JSON values."""
    return _table(value, sparse=True, canonical=False)


def to_full(value: Any) -> dict[str, Any]:
    """Every saved field, as JSON values."""
    return _table(value, sparse=False, canonical=False)


def to_canonical(value: Any) -> dict[str, Any]:
    """What a digest covers: what differs from the first defaults, under the first names, tables as lists of pairs."""
    return _table(value, sparse=True, canonical=True)


def digest_settings(value: Any) -> str:
    """Digest that no new field, changed default or new name alters."""
    return digest_json(to_canonical(value))


def _table(value: Any, *, sparse: bool, canonical: bool) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for field in saved_fields(type(value)):
        if canonical and not field.metadata.get(_IN_DIGEST, True):
            continue
        key, item = field.name, getattr(value, field.name)
        if canonical:
            key = (*former_names(field), key)[0]
        found = _plain(item, sparse, canonical)
        left_out = sparse and not is_required(field)
        if left_out:
            left_out = not found if dataclasses.is_dataclass(item) else _same(item, first_default(field))
        if not left_out:
            table[key] = found
    return table


def _plain(value: Any, sparse: bool, canonical: bool) -> Any:
    if dataclasses.is_dataclass(value):
        return _table(value, sparse=sparse, canonical=canonical)
    if isinstance(value, Mapping):
        items = {key: _plain(item, sparse, canonical) for key, item in value.items()}
        return [[key, item] for key, item in items.items()] if canonical else items
    return [_plain(item, sparse, canonical) for item in value] if isinstance(value, (tuple, list)) else value


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in a file: NaN equals NaN, the order of a table counts."""
    return one is other or json.dumps(_plain(one, False, True)) == json.dumps(_plain(other, False, True))


# ---- what is known of fields ----


def saved_fields(cls: Any) -> list[Field]:
    """The fields that stand in files, in their order."""
    return [field for field in dataclasses.fields(cls) if field.metadata.get(_SAVED, True)]


def former_names(field: Field) -> tuple[str, ...]:
    """Names that the field had in older versions, oldest first."""
    names: tuple[str, ...] = field.metadata.get(_RENAMED, ())
    return names


def upgraded(field: Field, value: Any) -> Any:
    """A value of the field's former shape in today's shape."""
    upgrade = field.metadata.get(_UPGRADE)
    return value if upgrade is None else upgrade(value)


def class_by_name(field: Field) -> Callable[[str], type] | None:
    """For a field of `tables_by_name`: the function from a name to its dataclass; None for any other."""
    return field.metadata.get(_TABLES)


def is_required(field: Field) -> bool:
    """Tell whether a field has no default and so is always written."""
    return field.default is MISSING and field.default_factory is MISSING


def first_default(field: Field) -> Any:
    """The default that the field had in the version that brought it."""
    noted = field.metadata.get(_FIRST_DEFAULT, MISSING)
    if noted is not MISSING:
        return noted
    return field.default_factory() if callable(field.default_factory) else field.default


def check_bounds(settings: Any) -> None:
    """ConfigError for a number outside the `bounds` of its field; for the `__post_init__` of a config."""
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
