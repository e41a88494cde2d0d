"""What each adaptation gains and costs on finished runs, as ratios to stride 64 of the same file without any.

usage: python benchmarks/adaptation_table.py NAME=RUN[,RUN...] [NAME=RUN[,RUN...]...] [--targets N] [--results FILE]
           [--rows PATTERN]

Each NAME is a column: run folders of one recipe and one text that differ in the seed. Their `model.bcap` is scored on
the held-out documents, with --targets on the first of them that have N targets together at most, in one process with
one thread. A cell has bits per byte and, in brackets, processor seconds, both divided by those of stride 64 and
averaged over the runs; ± is half the range over them. What is compiled is compiled before the clock starts.

All settings stand as published or were chosen on training documents (docs/lab_notes.md). --results names a JSON file
of what was measured, which a later call goes on from; --rows measures only rows in whose name a
regular expression is found.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from spread import mean_and_half_range

from bytecap.artifact.load import load
from bytecap.core.digest import digest_bytes, digest_json
from bytecap.core.progress import Silent
from bytecap.run import recipe as recipes
from bytecap.run.folder import MODEL, RECIPE, TOKENS
from bytecap.run.scoring import build_validation, scoring_context
from bytecap.scoring.adaptations import chosen_adaptations
from bytecap.scoring.adaptive import AdaptiveScoring, evaluate_adaptive
from bytecap.scoring.documents import document_begins
from bytecap.scoring.evaluate import Score, StaticScoring, evaluate
from bytecap.scoring.past import STREAMING, WINDOWS, Strategy
from bytecap.scoring.validation import Validation
from bytecap.text.shards import StreamSlice
from bytecap.text.tokens import load_tokens

STRIDE = 64
WARM_UP, LONGER_WARM_UP = 200, 2_000
"""Targets that are scored before the clock starts, and with a memory, which has more to compile."""
MEMORY: Mapping[str, Any] = {"document_memory": {}}
EARLIER: Mapping[str, Any] = {"document_memory": {"earlier_documents": True}}
LORA = {"rank": 32, "rate": 0.002}


class Row(NamedTuple):
    """One way of scoring."""

    name: str
    strategy: Strategy = STREAMING
    adapt: Mapping[str, Mapping[str, Any]] = {}


ROWS = [
    Row("stride 64", WINDOWS),
    Row("streaming"),
    Row("softcap_temperature", adapt={"softcap_temperature": {}}),
    Row("sgd, control parameters, 0.02", adapt={"sgd": {"parameters": "scalars", "rate": 0.02}}),
    Row("sgd", adapt={"sgd": {}}),
    Row("sgd, kept", adapt={"sgd": {"across_documents": True}}),
    Row("phased_sgd", adapt={"phased_sgd": {}}),
    Row("lora as published", adapt={"lora": {}}),
    Row("lora, rank 32, 0.002", adapt={"lora": LORA}),
    Row("rmsprop", adapt={"rmsprop": {}}),
    Row("document_memory", adapt=MEMORY),
    Row("document_memory, earlier documents", adapt=EARLIER),
    Row("document_memory with sgd kept, 0.05", adapt={**MEMORY, "sgd": {"across_documents": True, "rate": 0.05}}),
    Row("document_memory with lora, rank 32, 0.001", adapt={**MEMORY, "lora": {**LORA, "rate": 0.001}}),
    Row("document_memory with rmsprop, 0.0005", adapt={**MEMORY, "rmsprop": {"rate": 0.0005}}),
    Row("the same, earlier documents", adapt={**EARLIER, "rmsprop": {"rate": 0.0005}}),
]


class Measured(NamedTuple):
    """What one file's score gave."""

    bits_per_byte: float
    seconds: float
    targets: int


class Case:
    """A run's model and the beginning of its held-out text."""

    def __init__(self, folder: Path, targets: int | None) -> None:
        artifact, recipe = load(folder / MODEL), recipes.load(folder / RECIPE)
        self.digest, self.model = digest_bytes(artifact.data), artifact.model()
        self.context, self.batch_tokens = scoring_context(recipe), recipe.score.batch_tokens
        whole = build_validation(recipe, load_tokens(folder / TOKENS))
        last = len(whole.stream) - 1
        ends = [*document_begins(whole.stream, whole.bos).tolist()[1:], last]
        self.targets = max([ends[0], *(end for end in ends if end <= (targets or last))])
        self.validation = _beginning(whole, self.targets)

    def key(self, row: Row) -> str:
        """What a result is found by."""
        follows = [self.digest, self.targets, row.strategy, row.adapt, self.context, self.batch_tokens]
        return digest_json(follows)

    def measure(self, row: Row) -> Measured:
        """Bits per byte and processor seconds; what is compiled or looked up once is so before."""
        warm_up = LONGER_WARM_UP if "document_memory" in row.adapt else WARM_UP
        self._score(_beginning(self.validation, min(warm_up, self.targets)), row)
        begin = time.process_time()
        score = self._score(self.validation, row)
        return Measured(score.bits_per_byte, time.process_time() - begin, score.tokens)

    def _score(self, validation: Validation, row: Row) -> Score:
        common: Any = {"context": self.context, "stride": min(STRIDE, self.context), "batch_tokens": self.batch_tokens}
        if not row.adapt:
            return evaluate(self.model, validation, StaticScoring(strategy=row.strategy, **common), Silent())
        adapt = chosen_adaptations(row.adapt, origin=row.name)
        how = AdaptiveScoring(adapt=adapt, strategy=row.strategy, **common)
        return evaluate_adaptive(self.model, validation, how, Silent())


def _beginning(whole: Validation, targets: int) -> Validation:
    """The first targets of a text."""
    stream, byte_stream = (
        None if part is None else StreamSlice(part, 0, targets + 1) for part in (whole.stream, whole.byte_stream)
    )
    assert stream is not None
    return dataclasses.replace(whole, stream=stream, byte_stream=byte_stream)


def main() -> None:
    """Measure what is missing, run by run, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("columns", nargs="+", metavar="NAME=RUN[,RUN...]", help="finished run folders")
    parser.add_argument("--targets", type=int, help="at most, whole documents; all without")
    parser.add_argument("--rows", default="", metavar="PATTERN", help="rows whose name it is found in")
    parser.add_argument("--results", type=Path, help="a JSON file of what is measured already")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for row in ROWS if re.search(options.rows, row.name) or row is ROWS[0]]
    kept: dict[str, list[float]] = {}
    if options.results is not None and options.results.exists():
        kept = json.loads(options.results.read_text("utf-8"))
    columns: dict[str, list[list[Measured]]] = {}
    for given in options.columns:
        name, found, folders = given.partition("=")
        if not found:
            sys.exit(f"{given} has no name; give NAME=RUN[,RUN...]")
        columns[name] = [_measured(Path(folder), rows, kept, options) for folder in folders.split(",")]
    print(table(rows, columns))


def _measured(
    folder: Path, rows: Sequence[Row], kept: dict[str, list[float]], options: argparse.Namespace
) -> list[Measured]:
    """All rows of one run; each is written down as soon as it is there."""
    case, found = Case(folder, options.targets), list[Measured]()
    for row in rows:
        key = case.key(row)
        if key not in kept:
            kept[key] = list(case.measure(row))
            if options.results is not None:
                options.results.write_text(json.dumps(kept), "utf-8")
        bits, seconds, targets = kept[key]
        found.append(Measured(bits, seconds, int(targets)))
        print(f"{folder}, {row.name}: {bits:.4f} bits per byte, {seconds:.1f} s", file=sys.stderr, flush=True)
    return found


def table(rows: Sequence[Row], columns: Mapping[str, Sequence[Sequence[Measured]]]) -> str:
    """Markdown: the first row as it is, the others as shares of it."""
    lines = ["| adaptation | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    targets = [f"{runs[0][0].targets:,} targets, {len(runs)} runs" for runs in columns.values()]
    lines.append("| | " + " | ".join(targets) + " |")
    for number, row in enumerate(rows):
        cells = []
        for runs in columns.values():
            shares = [(run[number], run[0] if number else Measured(1, 1, 0)) for run in runs]
            gained = [its.bits_per_byte / alone.bits_per_byte for its, alone in shares]
            bits = mean_and_half_range(gained, ".3f" if number else ".4f")
            seconds = statistics.mean(its.seconds / alone.seconds for its, alone in shares)
            cells.append(f"{bits} ({seconds:.{2 if number else 1}f})")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
