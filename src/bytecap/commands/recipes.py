"""`bytecap recipes`: what comes with bytecap."""

from __future__ import annotations

from typing import Any

from bytecap.commands.common import DEFAULT_RECIPE, Json, Verb
from bytecap.commands.output import print_result
from bytecap.core import catalog
from bytecap.report.tables import columns, paragraph


def recipes(*, json: Json = False) -> None:
    """The recipes and tracks that come with bytecap: source, claimed score, status, what is missing."""
    found = [_recipe(name) for name in catalog.names("recipes")]
    tracks = [{"name": n, "summary": _summary(catalog.read("tracks", n))} for n in catalog.names("tracks")]
    text = "\n\n".join(
        [*map(_entry, found), columns([("track", "what"), *((t["name"], t["summary"]) for t in tracks)])]
    )
    print_result({"recipes": found, "tracks": tracks, "default": DEFAULT_RECIPE}, json, text)


def _summary(table: dict[str, Any]) -> str:
    summary: str = table.get("run", {}).get("summary", "")
    return summary


def _recipe(name: str) -> dict[str, Any]:
    """What a recipe's file says of itself."""
    table = catalog.read("recipes", name)
    source = table.get("source", {})
    return {
        "name": name,
        "status": source.get("status", ""),
        "summary": _summary(table),
        "source": source.get("url", ""),
        "date": source.get("date", ""),
        "claimed_bpb": source.get("claimed_bpb"),
        "scheme": source.get("scheme", ""),
        "missing": source.get("missing", []),
    }


def _entry(recipe: dict[str, Any]) -> str:
    """One recipe as a paragraph for a terminal."""
    claimed = recipe["claimed_bpb"]
    status = "default; " if recipe["name"] == DEFAULT_RECIPE else ""
    status += f"{recipe['status']}; " + (f"claims {claimed:.4f} bits per byte" if claimed else "claims nothing")
    if recipe["scheme"]:
        status += f"; published scheme {recipe['scheme']}" if claimed else f"; compared with scheme {recipe['scheme']}"
    return "\n".join(
        [
            f"{recipe['name']}  ({status})",
            paragraph(recipe["summary"], "  "),
            paragraph(f"{recipe['source']} ({recipe['date']})", "  "),
            *(paragraph(line, "  - ") for line in recipe["missing"]),
        ]
    )


VERB = Verb(recipes, ("bytecap recipes",))
