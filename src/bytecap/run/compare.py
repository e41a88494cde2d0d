"""Compares the scores of two sets of runs: tests over seeds, pairs and documents, and a verdict in a sentence.

In:   finished runs of two sides, and a contest's bar if any.
Out:  a RunComparison.

One rule, fixed before anything is looked at, says which test decides. Runs of the same checkpoints (other fits, other
ways of scoring) are pairs, and the test over pairs decides, or over documents where there is one pair. All others are
independent, equal seeds included, because a seed on another machine, thread count or setting is another run; Welch's
test decides, and needs two runs on each side. The other tests are shown next to it.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bytecap.core.errors import ConfigError
from bytecap.core.units import bits_per_byte
from bytecap.report.comparison import comparison_text, verdict_sentence
from bytecap.report.contests import BarConfig, load_contest
from bytecap.report.significance import Difference, over_documents, paired, scaled, seeds_needed, welch
from bytecap.run.compared_runs import (
    UNITS,
    ComparedRun,
    changed_settings,
    describe_hardware,
    read_runs,
    refuse_both_sides,
    refuse_other_text,
    summarize_runs,
    with_score,
)
from bytecap.run.record import ADAPTED

BETTER, WORSE, UNCLEAR = "better", "worse", "not distinguishable"
Tests = dict[str, dict[str, Difference]]


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """What two sets of runs say about each other; negative differences mean that the first side is better."""

    verdict: str
    """`better`, `worse` or `not distinguishable`, of the first side."""
    summary: str
    """The verdict as a sentence, with its numbers."""
    decided_by: str | None
    """The test that decides: `welch`, `paired` or `documents`; None where no test can."""
    seeds_needed: int | None
    """Runs on each side that would be enough to show a difference of the measured size; None where it is not known."""
    equal_bytes: bool
    """True where both sides were fitted under one cap."""
    tests: dict[str, dict[str, dict[str, Any]]]
    """By test (`welch`, `paired`, `documents`) and unit (`bits_per_byte`, `nats_per_token`): mean, standard_error,
    freedom, p, low, high."""
    bars: dict[str, dict[str, Any]]
    """The bars of a contest by name: what they ask for, `met`, and the sentence that says why."""
    sides: dict[str, dict[str, Any]]
    """`runs` and `against`: the runs of each, their mean and spread."""
    text: dict[str, Any]
    """The held-out text that both were scored on, and how."""
    settings: dict[str, list[Any]]
    """Settings in which the two sides differ, with the value of each."""
    warnings: list[str]
    """What makes the comparison unequal."""

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        """The whole comparison as lines for a terminal."""
        return comparison_text(self.to_json())


def compare(
    runs: Sequence[str | Path], against: Sequence[str | Path], *, score: str | None = None, contest: str | None = None
) -> RunComparison:
    """Compare the runs of two sides, given as run folders or record.json files, by one score of their records.

    `score` is a key of the records' `scores`. By default it is the fitted file's: `adapted` where all runs have that
    score, else `after`. `contest` is a name or TOML file with bars.

    Raises ConfigError for runs of one side that differ in more than the seed, runs given twice, on one side or on both,
    and scores or contests that are not there; DataError for runs that are not finished or were scored on different
    held-out text.

    >>> import bytecap
    >>> found = bytecap.compare(["runs/demo"], ["runs/other"])
    >>> found.verdict
    'not distinguishable'
    """
    for side in (runs, against):
        if isinstance(side, (str, Path)):
            raise ConfigError(f"{side} stands alone where a list of runs is needed; write [{str(side)!r}]")
        if not isinstance(side, Iterable):
            raise ConfigError(f"a side of the comparison is {side!r}; it must be a list of run folders")
    if not isinstance(score, str | None):
        raise ConfigError(f"score is {score!r}; it must be the name of a score in the records, such as after")
    bars = {} if contest is None else load_contest(contest).bars
    ours, theirs = (read_runs(_paths(side), name) for side, name in ((runs, "RUN"), (against, "--against")))
    refuse_both_sides(ours, theirs)
    score = score or (ADAPTED if all(ADAPTED in run.record["scores"] for run in (*ours, *theirs)) else "after")
    ours, theirs = ([with_score(run, score) for run in side] for side in (ours, theirs))
    refuse_other_text([*ours, *theirs])
    pairs, pair_kind = _pairs(ours, theirs)
    tests = _tests(ours, theirs, pairs)
    deciding = _deciding(tests, pair_kind)
    caps = {run.record["artifact"]["cap_bytes"] for run in (*ours, *theirs)}
    needed = _seeds_needed(ours, theirs, pairs, deciding)
    decided = None if deciding is None else tests[deciding]["bits_per_byte"]
    verdict = UNCLEAR if decided is None or not decided.is_clear else BETTER if decided.mean < 0 else WORSE
    value = RunComparison(
        verdict=verdict,
        summary="",
        decided_by=deciding,
        seeds_needed=needed,
        equal_bytes=len(caps) == 1,
        tests={n: {unit: dataclasses.asdict(d) for unit, d in by_unit.items()} for n, by_unit in tests.items()},
        bars={name: _bar(bar, tests, ours, theirs) for name, bar in bars.items()},
        sides={"runs": summarize_runs(ours), "against": summarize_runs(theirs)},
        text=_text(ours[0], theirs[0], score, pair_kind),
        settings=_settings(ours[0], theirs[0]),
        warnings=_warnings(ours, theirs, tests),
    )
    return dataclasses.replace(value, summary=verdict_sentence(value.to_json()))


def _paths(side: Iterable[str | Path]) -> list[Path]:
    """The runs of a side; ConfigError for what is no path."""
    found = list(side)
    for path in found:
        if not isinstance(path, str | os.PathLike):
            raise ConfigError(f"a run is given as {path!r}; give the path of its folder or of its record.json")
    return [Path(path) for path in found]


def _pairs(ours: Sequence[ComparedRun], theirs: Sequence[ComparedRun]) -> tuple[list[tuple[int, int]], str | None]:
    """Indices of the runs that belong together, and what pairs them: the same checkpoint, or else the same seed."""
    keys: dict[str, Callable[[ComparedRun], Any]] = {"checkpoint": lambda r: r.checkpoint, "seed": lambda r: r.seed}
    for kind, key in keys.items():
        mine, other = {key(run): i for i, run in enumerate(ours)}, {key(run): i for i, run in enumerate(theirs)}
        if mine.keys() == other.keys() and len(mine) == len(ours) == len(theirs):
            return [(mine[name], other[name]) for name in mine], kind
    return [], None


def _tests(ours: Sequence[ComparedRun], theirs: Sequence[ComparedRun], pairs: list[tuple[int, int]]) -> Tests:
    """Every test that these runs allow, in both units where one token is the same for both sides."""
    units = UNITS if _same_tokens(ours[0], theirs[0]) else UNITS[:1]
    found: Tests = {}
    for unit in units:
        one, other = ([getattr(run, unit) for run in side] for side in (ours, theirs))
        for name, difference in (
            ("welch", welch(one, other)),
            ("paired", paired([one[i] for i, _ in pairs], [other[j] for _, j in pairs])),
            ("documents", _over_documents(ours, theirs, unit)),
        ):
            if difference is not None:
                found.setdefault(name, {})[unit] = difference
    return found


def _same_tokens(one: ComparedRun, other: ComparedRun) -> bool:
    """Equally many targets from a vocabulary of one size: the same tokenizer, as far as records say."""
    sizes = (run.record["corpus"]["vocab_size"] for run in (one, other))
    return one.score["tokens"] == other.score["tokens"] and len(set(sizes)) == 1


def _over_documents(ours: Sequence[ComparedRun], theirs: Sequence[ComparedRun], unit: str) -> Difference | None:
    """The mean of each side's runs document by document; None where one lacks them or their bytes differ."""
    documents = [run.documents for run in (*ours, *theirs)]
    known = [its for its in documents if its is not None]
    if len(known) < len(documents) or not all(np.array_equal(its["bytes"], known[0]["bytes"]) for its in known):
        return None
    mine, other = (np.mean([its["nats"] for its in part], axis=0) for part in (known[: len(ours)], known[len(ours) :]))
    if unit == "nats_per_token":
        return over_documents(mine, other, known[0]["tokens"])
    difference = over_documents(mine, other, known[0]["bytes"])
    return None if difference is None else scaled(difference, bits_per_byte(1.0, 1))


def _deciding(tests: Tests, pair_kind: str | None) -> str | None:
    order = ("paired", "documents") if pair_kind == "checkpoint" else ("welch",)
    return next((name for name in order if name in tests), None)


def _seeds_needed(
    ours: Sequence[ComparedRun], theirs: Sequence[ComparedRun], pairs: list[tuple[int, int]], deciding: str | None
) -> int | None:
    """Runs on each side; where one side has a single run the other's variance stands for both."""
    if deciding == "documents":
        return None
    one, other = ([run.bits_per_byte for run in side] for side in (ours, theirs))
    gain = abs(statistics.fmean(one) - statistics.fmean(other))
    if deciding == "paired":
        return seeds_needed(gain, [statistics.variance([one[i] - other[j] for i, j in pairs])])
    known = [statistics.variance(side) for side in (one, other) if len(side) > 1]
    return seeds_needed(gain, known * (2 // len(known))) if known else None


def _bar(bar: BarConfig, tests: Tests, ours: Sequence[ComparedRun], theirs: Sequence[ComparedRun]) -> dict[str, Any]:
    """A contest's bar: lower by more than so many nats per token, by Welch's test in one direction."""
    found = tests.get("welch", {}).get("nats_per_token")
    asked = {"nats_per_token": bar.nats_per_token, "p": bar.p, "runs": bar.runs}
    if found is None or min(len(ours), len(theirs)) < bar.runs:
        why = f"it asks for {bar.runs} runs on each side, and for nats of the same tokens"
        return {**asked, "met": False, "p_found": None, "runs_needed": None, "why": why}
    p_found = found.p_lower_by(bar.nats_per_token)
    variances = [statistics.variance([run.nats_per_token for run in side]) for side in (ours, theirs)]
    needed = seeds_needed(-found.mean - bar.nats_per_token, variances, p=bar.p, directions=1)
    why = (
        f"the gain is {-found.mean:.5f} nats per token, and p = {p_found:.3g} if it were {bar.nats_per_token:g} or less"
    )
    return {**asked, "met": p_found < bar.p, "p_found": p_found, "runs_needed": needed, "why": why}


def _text(one: ComparedRun, other: ComparedRun, score: str, pair_kind: str | None) -> dict[str, Any]:
    corpus = one.record["corpus"]
    return {
        "score": score, "corpus": corpus["name"], "corpus_digest": corpus["digest"],
        "text_bytes": one.score["text_bytes"], "paired_by": pair_kind,
        "documents": None if one.documents is None else len(one.documents["bytes"]),
        "scored": {name: _way(run) for name, run in (("runs", one), ("against", other))},
    }  # fmt: skip


def _way(run: ComparedRun) -> dict[str, Any]:
    """How a score was made: windows, and in newer records strategy, adaptation and order."""
    return {key: run.score[key] for key in ("context", "stride", "strategy", "adapt", "order") if key in run.score}


def _settings(one: ComparedRun, other: ComparedRun) -> dict[str, list[Any]]:
    found = {}
    for key in changed_settings(one, other):
        if not key.startswith("run."):
            found[key] = [_setting(run.record["recipe"], key) for run in (one, other)]
    return found


def _setting(recipe: dict[str, Any], key: str) -> Any:
    """The value at a dotted key; None where a recipe has none."""
    value: Any = recipe
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _warnings(ours: Sequence[ComparedRun], theirs: Sequence[ComparedRun], tests: Tests) -> list[str]:
    """What is unequal between the two sides, in sentences."""
    one, other = ours[0], theirs[0]
    found = []
    hardware = {describe_hardware(run.record["hardware"]): None for run in (*ours, *theirs)}
    if len(hardware) > 1:
        found.append(f"the runs were made on different hardware: {'; '.join(hardware)}")
    if (ways := [_way(one), _way(other)])[0] != ways[1]:
        differing = [key for key in ways[0] | ways[1] if ways[0].get(key) != ways[1].get(key)]
        found.append(f"the two sides were scored in different ways: {', '.join(differing)}")
    if one.score["text_bytes"] != other.score["text_bytes"]:
        found.append(
            f"the same text counts {one.score['text_bytes']:,} bytes on one side and {other.score['text_bytes']:,} on "
            "the other, as lossy tokenizers do"
        )
    if not _same_tokens(one, other):
        found.append("the tokenizers differ, so nats per token do not compare")
    if "documents" not in tests:
        lacking = next((run.path for run in (*ours, *theirs) if run.documents is None), None)
        found.append(
            "there is no test over documents, whose bytes are counted in different ways"
            if lacking is None
            else f"there is no test over documents: {lacking} lacks its score.json, or an older version wrote it "
            "(delete it and run the command of that run again to have it scored again)"
        )
    for run in (*ours, *theirs):
        if run.score.get("fault"):
            found.append(f"{run.path}: {run.score['fault']}")
    for side in (ours, theirs):
        if len({run.seed for run in side}) < len(side):
            found.append(f"a seed stands twice on one side: {', '.join(str(run.seed) for run in side)}")
    return found
