"""A comparison of two sets of runs as text: the table of runs, the tests, what is not like for like, the verdict.

In:   a comparison as JSON values (run/compare.py).
Out:  text for a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bytecap.core.units import counted
from bytecap.report.tables import columns, paragraph

_TESTS = {
    "welch": "Welch, over runs",
    "paired": "paired, over runs",
    "documents": "paired, over documents",
}
_UNITS = ("bits_per_byte", "nats_per_token")
_SAME = {"seed": "of equal seeds", "checkpoint": "of the same checkpoints"}


def comparison_text(value: dict[str, Any]) -> str:
    """The whole comparison on one screen."""
    text, warnings = value["text"], list(value["warnings"])
    head = (
        f"score {text['score']!r} on {text['text_bytes']:,} held-out bytes of {text['corpus']} (corpus digest "
        f"{text['corpus_digest']})"
    )
    parts = [paragraph(head, ""), runs_table(value["sides"]), _tests(value)]
    if value["settings"]:
        parts.append("what differs\n" + columns(_settings(value["settings"])))
    if not value["equal_bytes"]:
        warnings.insert(0, f"NOT AT EQUAL BYTES: {_caps(value)}")
    if warnings:
        parts.append("\n".join(paragraph(warning, "NOTE  ") for warning in warnings))
    for name, bar in value["bars"].items():
        parts.append(paragraph(_bar(bar), f"bar {name}: "))
    return "\n\n".join([*parts, paragraph(value["summary"], "")])


def verdict_sentence(value: dict[str, Any]) -> str:
    """The verdict, its figures and what it rests on, as a sentence or two."""
    verdict, deciding = value["verdict"], value["decided_by"]
    counts = " against ".join(_runs(value["sides"][side]) for side in ("runs", "against"))
    at = f"at equal bytes ({_caps(value)})" if value["equal_bytes"] else f"NOT AT EQUAL BYTES ({_caps(value)})"
    if deciding is None:
        gap = value["sides"]["runs"]["bits_per_byte"]["mean"] - value["sides"]["against"]["bits_per_byte"]["mean"]
        return (
            f"{verdict}: {gap:+.4f} bits per byte, {counts}, {at}; a single run says nothing of its spread, and a "
            f"changed seed alone may give as much. {_needed(value)}"
        )
    found = value["tests"][deciding]["bits_per_byte"]
    how = (
        f"{found['mean']:+.4f} bits per byte (95 % interval {found['low']:+.4f} to {found['high']:+.4f}; "
        f"{_TESTS[deciding]}, {counts}, p = {found['p']:.2g}), {at}"
    )
    if deciding == "documents":
        how += "; one checkpoint on either side, so this speaks of these weights and of documents like these"
    return f"{verdict}: {how}." + ("" if verdict != "not distinguishable" else f" {_needed(value)}")


def _runs(side: dict[str, Any]) -> str:
    return counted(side["bits_per_byte"]["runs"], "run")


def _needed(value: dict[str, Any]) -> str:
    if value["decided_by"] == "documents":
        found = value["tests"]["documents"]["bits_per_byte"]
        if found["low"] == found["high"] == 0:
            return "Every document has the same loss on both sides, so more of them would show nothing else."
        return "More documents would be needed."
    if (needed := value["seeds_needed"]) is not None:
        return f"About {needed} seeds on each side would be needed to show a difference of this size (4 times in 5)."
    if value["decided_by"] is None:
        return "At least 2 seeds on each side are needed to know the spread, and 3 or more to show anything."
    return "No number of seeds up to 1,000 on each side would show a difference of this size."


def _caps(value: dict[str, Any]) -> str:
    caps = [sorted({run["cap_bytes"] for run in value["sides"][side]["runs"]}) for side in ("runs", "against")]
    both = [" and ".join(f"{cap:,}" for cap in side) for side in caps]
    return f"cap {both[0]}" if caps[0] == caps[1] else f"cap {both[0]} against {both[1]}"


def runs_table(sides: Mapping[str, dict[str, Any]]) -> str:
    """Every run of each side (by name) as a row, mean and spread below them, the hardware at the end."""
    heading = (
        "run", "seed", "bits/byte", "nats/token", "bytes", "train s", "steps", "ms/step", "train tokens", "tokens/s",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [heading]
    for name, side in sides.items():
        for run in side["runs"]:
            rows.append(
                (
                    run["path"], str(run["seed"]), f"{run['bits_per_byte']:.4f}", f"{run['nats_per_token']:.4f}",
                    f"{run['bytes']:,}", f"{run['train_seconds']:.1f}", f"{run['steps']:,}",
                    f"{run['step_milliseconds']:.1f}", f"{run['train_tokens']:,}", f"{run['tokens_per_second']:,.0f}",
                )
            )  # fmt: skip
        whose = f", {name}" if name else ""
        rows.append((f"  mean{whose}", "", *(f"{side[unit]['mean']:.4f}" for unit in _UNITS), *[""] * 6))
        rows.append((f"  spread{whose}", "", *(_shown(side[unit]["spread"]) for unit in _UNITS), *[""] * 6))
    hardware = dict.fromkeys(run["hardware"] for side in sides.values() for run in side["runs"])
    return columns(rows, right="l" + "r" * 9) + "\n" + "\n".join(hardware)


def _shown(number: float | None) -> str:
    return "one run" if number is None else f"{number:.4f}"


def _tests(value: dict[str, Any]) -> str:
    rows = [("difference (negative: the first is better)", "bits/byte", "95 % interval", "nats/token", "p", "")]
    for name, label in _TESTS.items():
        if (by_unit := value["tests"].get(name)) is None:
            continue
        bits, nats = by_unit["bits_per_byte"], by_unit.get("nats_per_token")
        if name == "paired":
            label += f" {_SAME[value['text']['paired_by']]}"
        if name == "documents":
            label += f" ({value['text']['documents']:,}; of these runs alone)"
        decides = "decides" if name == value["decided_by"] else ""
        rows.append(
            (
                label, f"{bits['mean']:+.4f}", f"{bits['low']:+.4f} .. {bits['high']:+.4f}",
                "" if nats is None else f"{nats['mean']:+.4f}", f"{bits['p']:.2g}", decides,
            )
        )  # fmt: skip
    return columns(rows, right="lrrrrl") if len(rows) > 1 else "no test: a spread needs two runs on each side"


def _settings(settings: dict[str, list[Any]]) -> list[tuple[str, ...]]:
    """At most a dozen settings with both values."""
    rows: list[tuple[str, ...]] = [(f"  {key}", str(one), str(other)) for key, (one, other) in settings.items()]
    more = [(f"  and {len(rows) - 12} more", "", "")] if len(rows) > 12 else []
    return rows[:12] + more


def _bar(bar: dict[str, Any]) -> str:
    asked = (
        f"lower by more than {bar['nats_per_token']:g} nats per token at p < {bar['p']:g}, {bar['runs']} runs or more"
    )
    needed = ""
    if not bar["met"] and bar["p_found"] is not None:
        needed = (
            "; if the true gain is what was measured, no number of seeds would do"
            if bar["runs_needed"] is None
            else f"; about {bar['runs_needed']} seeds on each side would be needed"
        )
    return f"{'met' if bar['met'] else 'not met'} ({asked}): {bar['why']}{needed}"
