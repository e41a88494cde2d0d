"""All recipes on one text under one cap: bits per byte before fitting, as published and ours, beside what was claimed.

usage: python benchmarks/recipes_on_laptop.py --text PATH [--seconds 170 | --steps N,N...] [--cap 250kB] [--seeds 0,1]
           [--recipes NAME,NAME] [--out FOLDER] [--set PATH=VALUE]...

Every run is `bytecap run RECIPE --track laptop` into a folder of its own under --out, one after the other; a finished
one is read instead of made again, so the table can be continued. With one number of --steps every recipe sees the same
tokens; with one for each, as many as some seconds bought when its speed was measured alone, a busy machine makes the
same table as a quiet one. Where the published file is smaller than the cap, ours is fitted again to its size: that
column compares at equal bytes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spread import mean_and_half_range

from bytecap.core import catalog

OURS = "bytecap"
EQUAL = 0.995
"""A published file of at least this share of ours is compared as it is."""


def main() -> None:
    """Make what is missing, then print the table."""
    options = _options()
    rows = []
    names = options.recipes.split(",")
    for name, steps in zip(names, _steps(options, len(names)), strict=True):
        records = []
        for seed in options.seeds.split(","):
            folder = options.out / f"{name}-{seed}"
            record = _bytecap("run", name, "--out", folder, "--seed", seed, *_words(options, steps))
            record["equal"] = _equal(record, folder)
            records.append(record)
            print(f"{folder}: {record['scores']['after']['bits_per_byte']:.4f}", file=sys.stderr, flush=True)
        rows.append(_row(name, records))
    print(_about(records[-1], options))
    print(_table(rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="+", help="files, folders or globs; without it Python's standard library")
    parser.add_argument("--seconds", type=float, help="of training, 170 unless given")
    parser.add_argument("--steps", help="of training instead of seconds: one number, or one for each recipe")
    parser.add_argument("--cap", default="250kB", help="most bytes of a file")
    parser.add_argument("--seeds", default="0,1", help="separated by commas")
    parser.add_argument("--recipes", default=",".join(catalog.names("recipes")), help="separated by commas")
    parser.add_argument("--out", type=Path, default=Path("runs/recipes_on_laptop"), help="where the runs lie")
    parser.add_argument("--set", action="append", default=[], help="path=value, for every recipe")
    return parser.parse_args()


def _steps(options: argparse.Namespace, n_recipes: int) -> list[str | None]:
    """How many steps each recipe trains; None where seconds decide."""
    if options.steps is None:
        return [None] * n_recipes
    given: list[str | None] = options.steps.split(",")
    if len(given) not in (1, n_recipes):
        sys.exit(f"--steps has {len(given)} numbers for {n_recipes} recipes; give one, or one for each")
    return given * n_recipes if len(given) == 1 else given


def _words(options: argparse.Namespace, steps: str | None) -> list[str]:
    """What every run is given."""
    settings = [f"artifact.cap_bytes={options.cap}", *options.set]
    if options.seconds is not None:
        settings.append(f"train.seconds={options.seconds}")
    if steps is not None:
        settings.append(f"train.steps={steps}")
    text = ["--text", *options.text] if options.text else []
    return [*text, *(f"--set={setting}" for setting in settings)]


def _bytecap(*words: str | Path) -> dict[str, Any]:
    """What a verb prints as JSON."""
    command = [sys.executable, "-m", "bytecap", *map(str, words), "--json", "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _equal(record: dict[str, Any], folder: Path) -> float | None:
    """Bits per byte of our fit at the bytes of the published file; None where that was not made."""
    fits = record["fits"]
    published = next((fit for scheme, fit in fits.items() if scheme != OURS), None)
    if published is None:
        return None
    if published["bytes"] >= EQUAL * fits[OURS]["bytes"]:
        return float(fits[OURS]["bits_per_byte"])
    file = folder / "equal.bcap"
    if not file.exists():
        _bytecap("fit", folder, "--cap", str(published["bytes"]), "--out", file)
    return float(_bytecap("score", file)["bits_per_byte"])


def _row(name: str, records: Sequence[dict[str, Any]]) -> list[str]:
    """The cells of one recipe: means over the seeds, half the range behind them."""
    source = catalog.read("recipes", name).get("source", {})
    fits = [record["fits"] for record in records]
    theirs = [next((f for scheme, f in found.items() if scheme != OURS), None) for found in fits]
    made = [fit for fit in theirs if fit is not None]
    claimed = source.get("claimed_bpb")
    return [
        name,
        mean_and_half_range([record["scores"]["before"]["bits_per_byte"] for record in records]),
        mean_and_half_range([fit["bits_per_byte"] for fit in made]) if made else "none",
        mean_and_half_range([record["equal"] for record in records]) if made else "none",
        f"{statistics.mean(fit['bytes'] for fit in made):,.0f}" if made else "none",
        f"{statistics.mean(fit['own_bytes'] or fit['bytes'] for fit in made):,.0f}" if made else "none",
        mean_and_half_range([found[OURS]["bits_per_byte"] for found in fits]),
        f"{statistics.mean(found[OURS]['bytes'] for found in fits):,.0f}",
        f"{statistics.mean(record['training']['steps'] for record in records):,.0f}",
        f"{statistics.mean(record['training']['tokens_per_second'] for record in records):,.0f}",
        "none" if claimed is None else f"{claimed:.4f}",
    ]


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    heading = (
        "recipe", "before", "as published", "ours at its bytes", "its bytes", "with its own steps", "ours", "bytes",
        "steps", "tokens/s", "claimed",
    )  # fmt: skip
    lines = [heading, ("---", *("---:" for _ in heading[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _about(record: dict[str, Any], options: argparse.Namespace) -> str:
    """What was measured, on what."""
    budget = f"{options.steps} steps" if options.steps else f"{record['recipe']['train']['seconds']:g} s"
    hardware = record["hardware"]
    return (
        f"Text {record['corpus']['name']}, digest `{record['corpus']['digest']}`, {budget} of training, "
        f"{record['artifact']['cap_bytes']:,} bytes, seeds {options.seeds}; {hardware['name']}, {hardware['threads']} "
        f"threads, torch {hardware['torch']}; bits per byte on {record['corpus']['validation_bytes']:,} held-out "
        f"bytes, stride {record['scores']['after']['stride']}; ± is half the range over seeds.\n"
    )


if __name__ == "__main__":
    main()
