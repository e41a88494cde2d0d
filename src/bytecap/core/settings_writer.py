"""Dataclasses to the tables of files and to digests, by the rule of core/settings.py.

In:   a dataclass of plain values.
Out:  a table for TOML or JSON; a digest. Reading needs none of this, so it is no part of what reads a `.bcap` file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from bytecap.core.digest import digest_json
from bytecap.core.settings import WRITTEN_BY, first_default, former_names, in_digest, is_required, saved_fields
from bytecap.core.version import __version__


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
    """A digest that does not change with new fields, changed defaults or new names."""
    return digest_json(to_canonical(value))


def _table(value: Any, *, sparse: bool, canonical: bool) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for field in saved_fields(type(value)):
        if canonical and not in_digest(field):
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
    """Return whether two values are the same in a file: NaN equals NaN, the order of a table counts."""
    return one is other or json.dumps(_plain(one, False, True)) == json.dumps(_plain(other, False, True))
