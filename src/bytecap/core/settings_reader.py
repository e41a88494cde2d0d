"""Tables of files back to the dataclasses of core/settings.py, checked entry by entry.

In:   a dataclass and a table as TOML or JSON gives it.
Out:  the dataclass; or an error that names the entry, what was found, what was needed and the nearest known name.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from bytecap.core.annotations import describe, fits, is_choice, is_union, shown
from bytecap.core.errors import BytecapError, ConfigError, nearest
from bytecap.core.settings import (
    WRITTEN_BY,
    Field,
    class_by_name,
    first_default,
    former_names,
    is_required,
    out_of_bounds,
    saved_fields,
    upgraded,
)
from bytecap.core.version import __version__

UNSTAMPED = "0.1.0"
"""The version of files that say none."""

T = TypeVar("T")


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
    """True where the file says which version wrote it."""

    def refusal(self, path: str, reason: str) -> BytecapError:
        """The error for the entry at a dotted path."""
        where = f"{self.origin}: {path} {reason}" if path else f"{self.origin}: it {reason}"
        return self.error(f"{where}; {self.remedy}" if self.remedy else where, key=path)

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

    def _name(self, key: str, fields: Mapping[str, Field], path: str) -> str:
        if key in fields:
            return key
        for name, field in fields.items():
            if key in former_names(field):
                return name
        remedy = self.remedy if self.stamped else f"a version of bytecap newer than {__version__} may know it"
        reader = dataclasses.replace(self, remedy=remedy)
        known = "" if self.saved or not fields else f"; there are {', '.join(fields)}"
        raise reader.refusal(_joined(path, key), f"is not a setting{nearest(key[:80], fields) or known}")

    def _left_out(self, field: Field, hint: Any, path: str) -> Any:
        return self.table(cast(type, hint), {}, path) if dataclasses.is_dataclass(hint) else first_default(field)

    def _entry(self, field: Field, hint: Any, value: Any, path: str) -> Any:
        try:
            value = upgraded(field, value)
        except BytecapError as error:
            raise self.refusal(path, f"cannot be used: {error}") from error
        if config_class := class_by_name(field):
            return self._tables(config_class, value, path)
        found = self._value(hint, value, path)
        if reason := out_of_bounds(field, found):
            raise self.refusal(path, reason)
        return found

    def _tables(self, config_class: Callable[[str], type], value: Any, path: str) -> dict[str, Any]:
        """Read the value of a `tables_by_name` field."""
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
        """Convert a value to the type of its annotation."""
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
