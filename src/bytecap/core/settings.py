"""Dataclasses in files that outlive the program that wrote them: recipes, model specs, checkpoints, manifests.

In:   a dataclass of plain values (numbers, text, lists, tables of them, further dataclasses).
Out:  a table for TOML or JSON, the same dataclass read back, a digest.

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
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, TypeVar, cast

from bytecap.core.annotations import describe, fits, is_choice, is_union, shown
from bytecap.core.digest import digest_json
from bytecap.core.errors import BytecapError, ConfigError, nearest
from bytecap.core.version import __version__

WRITTEN_BY = "written_by"
"""Key of the version that wrote a file; files without it are of 0.1.0."""
UNSTAMPED = "0.1.0"
_FIRST_DEFAULT, _RENAMED, _UPGRADE, _LOW, _HIGH = "first_default", "renamed", "upgrade", "low", "high"
_SAVED, _IN_DIGEST, _FINITE, _TABLES = "saved", "in_digest", "finite", "tables"

T = TypeVar("T")


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
            key = (*field.metadata.get(_RENAMED, ()), key)[0]
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
    """Whether two values are the same in a file: NaN equals NaN, the order of a table counts."""
    return one is other or json.dumps(_plain(one, False, True)) == json.dumps(_plain(other, False, True))


# ---- what is known of fields ----


def saved_fields(cls: Any) -> list[dataclasses.Field[Any]]:
    """The fields that stand in files, in their order."""
    return [field for field in dataclasses.fields(cls) if field.metadata.get(_SAVED, True)]


def is_tables_by_name(field: dataclasses.Field[Any]) -> bool:
    """Whether a field maps names to dataclasses."""
    return _TABLES in field.metadata


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Whether a field has no default and so is always written."""
    return field.default is MISSING and field.default_factory is MISSING


def first_default(field: dataclasses.Field[Any]) -> Any:
    """The default that the field had in the version that brought it."""
    noted = field.metadata.get(_FIRST_DEFAULT, MISSING)
    if noted is not MISSING:
        return noted
    return field.default_factory() if callable(field.default_factory) else field.default


def check_bounds(settings: Any) -> None:
    """ConfigError for a number outside the `bounds` of its field; for the `__post_init__` of a config."""
    for field in dataclasses.fields(settings):
        if reason := _out_of_bounds(field, getattr(settings, field.name)):
            raise ConfigError(f"{field.name} {reason}")


def _out_of_bounds(field: dataclasses.Field[Any], value: Any) -> str | None:
    """What is wrong with a number: it is not finite, or outside the bounds of its field."""
    if isinstance(value, (tuple, list)):
        return next(filter(None, (_out_of_bounds(field, item) for item in value)), None)
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


# ---- reading ----


def from_saved(
    cls: type[T], table: Any, *, origin: str, remedy: str = "", error: type[BytecapError] = ConfigError
) -> T:
    """What `to_saved` wrote, by this or an older version; what is missing is the field's first default.

    `error` is raised for unknown, missing and mistyped entries. It begins with `origin`, names the nearest known key,
    and ends with `remedy`, or with the version to install where a newer one wrote the file.
    """
    version = UNSTAMPED
    if isinstance(table, Mapping):
        version = table.get(WRITTEN_BY, UNSTAMPED)
        table = {key: value for key, value in table.items() if key != WRITTEN_BY}
    if not (isinstance(version, str) and re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}){1,3}[A-Za-z0-9.+-]{0,40}", version)):
        raise error(f"{origin}: {WRITTEN_BY} must be a version such as {__version__}, found {shown(version)}")
    if _numbers(version) > _numbers(__version__):
        remedy = f"the file was written by bytecap {version}, this is {__version__}: install {version} to read it"
    return _Reader(origin, remedy, error, saved=True).table(cls, table, "")


def from_sparse(cls: type[T], table: Any, *, origin: str) -> T:
    """What `to_sparse` wrote, for a part of a file that says no version; ConfigError as by `from_saved`."""
    return _Reader(origin, "", ConfigError, saved=True, stamped=False).table(cls, table, "")


def from_authored(cls: type[T], table: Any, *, origin: str) -> T:
    """What a person wrote: what is missing is today's default; ConfigError as by `from_saved`."""
    return _Reader(origin, "", ConfigError, saved=False).table(cls, table, "")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", version)[:3]]


@dataclass(frozen=True)
class _Reader:
    """Reads one file: where it comes from, what its errors are and what they advise."""

    origin: str
    remedy: str
    error: type[BytecapError]
    saved: bool
    stamped: bool = True
    """Whether it is known which version wrote the file."""

    def refusal(self, path: str, reason: str) -> BytecapError:
        """The error for the entry at a dotted path."""
        where = f"{self.origin}: {path} {reason}" if path else f"{self.origin}: it {reason}"
        remedy = f" {self.remedy[:1].upper()}{self.remedy[1:]}" if where.endswith("?") else f"; {self.remedy}"
        return self.error(where + remedy if self.remedy else where, key=path)

    def table(self, cls: type[T], table: Any, path: str) -> T:
        """A dataclass from its table."""
        if not isinstance(table, Mapping):
            raise self.refusal(path, f"must be a table, found {shown(table)}")
        fields = {field.name: field for field in saved_fields(cls)}
        hints = typing.get_type_hints(cls)
        values: dict[str, Any] = {}
        for key, value in table.items():
            name = self._name(str(key), fields, path)
            if name in values:
                raise self.refusal(_joined(path, str(key)), f"stands twice, also as {name}; keep one")
            values[name] = self._entry(fields[name], hints[name], value, _joined(path, name))
        for name, field in fields.items():
            if name not in values and is_required(field):
                raise self.refusal(_joined(path, name), "is missing")
            if name not in values and self.saved:
                values[name] = self._left_out(field, hints[name], _joined(path, name))
        try:
            return cls(**values)
        except BytecapError as error:
            raise self.refusal(path, f"cannot be used: {error}") from error

    def _name(self, key: str, fields: Mapping[str, dataclasses.Field[Any]], path: str) -> str:
        if key in fields:
            return key
        for name, field in fields.items():
            if key in field.metadata.get(_RENAMED, ()):
                return name
        remedy = self.remedy if self.stamped else f"a version of bytecap newer than {__version__} may know it"
        reader = dataclasses.replace(self, remedy=remedy)
        raise reader.refusal(_joined(path, key), f"is not a setting{nearest(key[:80], fields)}")

    def _left_out(self, field: dataclasses.Field[Any], hint: Any, path: str) -> Any:
        return self.table(cast(type, hint), {}, path) if dataclasses.is_dataclass(hint) else first_default(field)

    def _entry(self, field: dataclasses.Field[Any], hint: Any, value: Any, path: str) -> Any:
        if upgrade := field.metadata.get(_UPGRADE):
            try:
                value = upgrade(value)
            except BytecapError as error:
                raise self.refusal(path, f"cannot be used: {error}") from error
        if is_tables_by_name(field):
            return self._tables(field.metadata[_TABLES], value, path)
        found = self._value(hint, value, path)
        if reason := _out_of_bounds(field, found):
            raise self.refusal(path, reason)
        return found

    def _tables(self, config_class: Callable[[str], type], value: Any, path: str) -> dict[str, Any]:
        """What `tables_by_name` describes."""
        if not isinstance(value, Mapping):
            raise self.refusal(path, f"must be a table, found {shown(value)}")
        found: dict[str, Any] = {}
        for name, table in value.items():
            try:
                cls = config_class(name)
            except BytecapError as error:
                raise self.refusal(_joined(path, name), f"cannot be used: {error}") from error
            if table is not False:
                found[name] = self.table(cls, {} if table is True else table, _joined(path, name))
        return found

    def _value(self, hint: Any, value: Any, path: str) -> Any:
        """A value as its annotation wants it."""
        kind, of = typing.get_origin(hint), typing.get_args(hint)
        if dataclasses.is_dataclass(hint):
            return self.table(cast(type, hint), value, path)
        if is_union(hint):
            fitting = next((option for option in of if fits(option, value)), None)
            return self._scalar(hint, value, path) if fitting is None else self._value(fitting, value, path)
        if kind is tuple and isinstance(value, (list, tuple)):
            items = [of[0]] * len(value) if of[1:] == (Ellipsis,) else list(of)
            if len(items) != len(value):
                raise self.refusal(path, f"must be {describe(hint)}, found {shown(value)}")
            return tuple(self._value(item, entry, path) for item, entry in zip(items, value, strict=True))
        if kind in (dict, Mapping) and isinstance(value, Mapping):
            return {str(key): self._value(of[1], entry, _joined(path, str(key))) for key, entry in value.items()}
        return self._scalar(hint, value, path)

    def _scalar(self, hint: Any, value: Any, path: str) -> Any:
        if not fits(hint, value):
            near = nearest(value, typing.get_args(hint)) if is_choice(hint) and isinstance(value, str) else ""
            raise self.refusal(path, f"must be {describe(hint)}, found {shown(value)}{near}")
        try:
            return float(value) if hint is float else int(value) if hint is int else value
        except OverflowError:
            raise self.refusal(path, "is too large") from None


def _joined(path: str, key: str) -> str:
    key = key[:80] if key.isprintable() else ascii(key[:80])
    return f"{path}.{key}" if path else key
