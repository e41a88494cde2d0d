"""How many planted cheats the audit catches, how many honest scores it accuses, and what it finds of near duplicates.

usage: python benchmarks/audit_cheats.py RUN... [--tries N] [--seed S] [--score NAME...] [--corpora PATH...]

Each RUN is a finished run folder. Honest: its score in sliding and in plain windows, streaming, and with each
adaptation that is named, under all rules that ask the model. Cheats: each is planted N times in the run whose turn it
is, with place, offset and strength drawn at random, and must be caught by a rule that speaks of it. Corpora: files or
folders of text; a tenth of each is held out by hash, pairs that are alike by themselves are counted, and copies of
held-out documents with a share of their words changed are planted among the rest.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from planted_cheats import CHEATS, edited

from bytecap.artifact.load import load
from bytecap.auditing.job import audit_subject
from bytecap.auditing.overlap import near_duplicates
from bytecap.auditing.own_models import scored_model
from bytecap.auditing.rules import RuleSet, load_rules
from bytecap.auditing.run_subject import run_subject
from bytecap.auditing.subject import Subject
from bytecap.core.progress import Silent
from bytecap.run import recipe as recipes
from bytecap.run.folder import MODEL, RECIPE
from bytecap.scoring.adaptations import adaptation_config
from bytecap.scoring.adaptive import AdaptiveScoring
from bytecap.text.config import TextConfig
from bytecap.text.split import document_hash
from bytecap.text.survey import open_corpus

WAYS = ("sliding", "plain", "streaming")
RATES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
MIN_WORDS, PLANTED, NAMED, COPY = 100, 40, 0.5, 0.9
OF_THE_MODEL = {"A1", "A2", "A5", "C1a", "C1b", "C1c", "C2a", "C3", "C4", "C5", "S1", "G1", "G2"}
"""Rules that depend on how a file is scored; the others are asked once for each run."""
_ORDER = ("C1b", "C1a", "C1c", "A5", "C3", "A1", "A2", "B2", "B3", "C2a", "C4", "D1a", "D1b", "G1", "G2", "S1")
"""What is asked first where several rules speak of a cheat."""


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score", nargs="*", default=[*WAYS], help="sliding, plain, streaming, names of adaptations")
    parser.add_argument("--corpora", nargs="*", type=Path, default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        subjects = [_copied(run, Path(temporary) / str(n)) for n, run in enumerate(options.runs)]
        if subjects:
            _honest(options.runs, subjects, options.score, options.seed)
            if options.tries:
                _cheats(subjects, options.tries, options.seed)
    for path in options.corpora:
        _corpus(path, np.random.default_rng(options.seed))


def _copied(run: Path, folder: Path) -> Subject:
    """A run whose folder may be written into."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("calibration*", "checkpoint*"))
    return run_subject(folder, folder / MODEL, device="cpu")


def _some(rules: RuleSet, ids: set[str]) -> RuleSet:
    return dataclasses.replace(rules, rules=tuple(rule for rule in rules.rules if rule.id in ids))


def _honest(runs: list[Path], subjects: list[Subject], ways: list[str], seed: int) -> None:
    print("honest                              accused by      recorded        C1c nats  seconds")
    rules = load_rules()
    for run, subject in zip(runs, subjects, strict=True):
        for number, way in enumerate(ways):
            asked = rules if number == 0 else _some(rules, OF_THE_MODEL)
            report = audit_subject(_scored_by(subject, way), asked, seed=seed, progress=Silent())
            found = {finding.rule: finding.answer for finding in report.findings}
            recorded = " ".join(finding.rule for finding in report.with_verdict("recorded"))
            accused = " ".join(finding.rule for finding in report.broken) or "none"
            figure = found["C1c"].figure or 0.0
            name = f"{run.name} {way}"
            print(f"{name:35s} {accused:15s} {recorded:15s} {figure:8.1e} {report.seconds:8.1f}", flush=True)


def _scored_by(subject: Subject, way: str) -> Subject:
    """The same file scored in another way."""
    assert subject.files is not None and subject.model is not None
    file = subject.files.paths[0]
    recipe = recipes.load(file.parent / RECIPE)
    context = recipe.score.context
    assert context is not None
    how = AdaptiveScoring(
        adapt={} if way in WAYS else {way: adaptation_config(way)()}, context=context,
        stride=context if way == "plain" else recipe.score.stride, batch_tokens=recipe.score.batch_tokens,
        strategy="windows" if way in ("sliding", "plain") else "streaming",
    )  # fmt: skip
    model = scored_model(lambda: load(file).model(), subject.model.bos, how)
    return dataclasses.replace(subject, model=model)


def _cheats(subjects: list[Subject], tries: int, seed: int) -> None:
    print(f"\ncheat               tries  caught   (seeds {seed}, 0 to {tries - 1}; missed ones are named)")
    rules = load_rules()
    for number, (name, plant) in enumerate(CHEATS.items()):
        missed, begin = [], time.perf_counter()
        for index in range(tries):
            planted = plant(subjects[index % len(subjects)], np.random.default_rng([seed, number, index]))
            reports = (
                audit_subject(planted.subject, _some(rules, {rule}), seed=seed + index, progress=Silent())
                for rule in sorted(planted.caught_by, key=_ORDER.index)
            )
            if not any(report.broken for report in reports):
                missed.append(f"{index}: {planted.drawn}")
        spent = (time.perf_counter() - begin) / tries
        print(f"{name:19s} {tries:5d} {tries - len(missed):7d}   {spent:5.1f} s each  {missed or ''}", flush=True)


def _corpus(path: Path, rng: np.random.Generator) -> None:
    """Pairs that are alike by themselves, and planted copies by the share of their words that was changed."""
    held_out, training = _split(path)
    begin = time.perf_counter()
    alike = near_duplicates(held_out, training, at_least=NAMED)
    spent = time.perf_counter() - begin
    copies = sum(pair.similarity >= COPY for pair in alike)
    print(f"\n{path.name}: {len(held_out):,} held out, {len(training):,} in training, {spent:.1f} s")
    print(f"  by themselves: {len(alike)} at least {NAMED} alike, {copies} at least {COPY}")
    for pair in sorted(alike, key=lambda pair: -pair.similarity)[:3]:
        print(f"    {pair.similarity:.3f} {pair.beginning[:70]!r}")
    natural = {pair.held_out for pair in alike}
    free = [n for n, text in enumerate(held_out) if n not in natural and len(text.split()) >= MIN_WORDS]
    chosen = sorted(rng.choice(free, size=min(PLANTED, len(free)), replace=False).tolist())
    for rate in RATES:
        planted = [held_out[n] if rate == 0 else edited(held_out[n], rate, rng) for n in chosen]
        place = int(rng.integers(len(training) + 1))
        pairs = near_duplicates(
            [held_out[n] for n in chosen], [*training[:place], *planted, *training[place:]], at_least=NAMED
        )
        found = sum(pair.similarity >= COPY for pair in pairs)
        low = min((pair.similarity for pair in pairs), default=0.0)
        print(f"  {100 * rate:4.1f} % changed: {len(pairs)} of {len(chosen)} named, {found} as copies, least {low:.2f}")


def _split(path: Path) -> tuple[list[str], list[str]]:
    held_out, training, seen = list[str](), list[str](), set[int]()
    for text in _documents(path):
        key = document_hash(text)
        if key not in seen:  # the same text twice is the matter of rule D1a
            (held_out if key % 10 == 0 else training).append(text)
            seen.add(key)
    return held_out, training


def _documents(path: Path) -> Iterator[str]:
    config = TextConfig(paths=(str(path),), document_length=1 << 14)
    yield from open_corpus(config, config.paths).documents()


if __name__ == "__main__":
    main()
