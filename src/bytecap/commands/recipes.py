"""`bytecap recipes`: what comes with bytecap."""

from __future__ import annotations

from bytecap.commands.common import Json, Verb
from bytecap.commands.output import print_result
from bytecap.core import catalog
from bytecap.report.tables import columns


def recipes(*, json: Json = False) -> None:
    """The recipes and tracks that come with bytecap."""
    rows = []
    for name in catalog.names("recipes"):
        table = catalog.read("recipes", name)
        source = table.get("source", {})
        rows.append((name, source.get("status", ""), table.get("run", {}).get("summary", ""), source.get("url", "")))
    tracks = [(n, catalog.read("tracks", n).get("run", {}).get("summary", "")) for n in catalog.names("tracks")]
    value = {
        "recipes": [dict(zip(("name", "status", "summary", "source"), row, strict=True)) for row in rows],
        "tracks": [dict(zip(("name", "summary"), row, strict=True)) for row in tracks],
    }
    text = columns([("recipe", "status", "what", "source"), *rows]) + "\n\n" + columns([("track", "what"), *tracks])
    print_result(value, json, text)


VERB = Verb(recipes, ("bytecap recipes",))
