"""Tables of settings before they are read: a recipe and its parent, a track, words of a command line.

In:   names of TOML files, `path=value`.
Out:  one table, each of these over the one before.
"""

from __future__ import annotations

import typing
from typing import Any

from bytecap.core import catalog
from bytecap.core.annotations import shown
from bytecap.core.errors import ConfigError, nearest
from bytecap.core.toml import parse_toml

SCALE = "scale"
"""Key of a track's scale, and of a recipe's tables for one."""


def with_parent(name: str) -> dict[str, Any]:
    """The table of a recipe over that of its parent; ConfigError where the parent has one itself.

    A source is of one recipe alone: what is taken over of a parent's is the scheme.
    """
    table = catalog.read("recipes", name)
    base = table.get("run", {}).get("base")
    if base is None:
        return table
    if not isinstance(base, str):
        raise ConfigError(f"recipe {name}: run.base must be the name of a recipe, found {shown(base)}", key="run.base")
    parent = catalog.read("recipes", base)
    if parent.get("run", {}).get("base") is not None:
        raise ConfigError(f"recipe {name} has base {base}, which has a base itself; a recipe has at most one parent")
    parent["source"] = {key: value for key, value in parent.get("source", {}).items() if key == "scheme"}
    return overlay(parent, table)


def with_scale(recipe: dict[str, Any], track: dict[str, Any], name: str) -> dict[str, Any]:
    """The track over the recipe, and over both what the recipe says of the track's scale."""
    scales, scale = recipe.pop(SCALE, {}), str(track.pop(SCALE, ""))
    known = {scale, *(catalog.read("tracks", known).get(SCALE, "") for known in catalog.names("tracks"))} - {""}
    if not isinstance(scales, dict) or not all(isinstance(table, dict) for table in scales.values()):
        raise ConfigError(f"recipe {name}: {SCALE} must be tables such as [{SCALE}.{min(known)}.model]", key=SCALE)
    for wanted in scales:
        if wanted not in known:
            raise ConfigError(
                f"recipe {name} has [{SCALE}.{wanted}], and no track has that scale{nearest(wanted, known)}; known: "
                f"{', '.join(sorted(known))}",
                key=f"{SCALE}.{wanted}",
            )
    return overlay(overlay(recipe, track), scales.get(scale, {}))


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables merge, everything else is replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """`train.seconds=30` as a nested table; the value is TOML, or a plain string where it is not."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"--set {text!r} must be path=value, such as --set train.seconds=30")
    try:
        parsed: Any = parse_toml(f"x = {value}")["x"]
    except ValueError:
        parsed = value.strip()
    for part in reversed(path.strip().split(".")):
        parsed = {part: parsed}
    return typing.cast(dict[str, Any], parsed)
