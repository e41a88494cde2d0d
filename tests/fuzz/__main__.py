"""Fuzzing: no input file of any kind may end in anything but a clear refusal.

usage: python -m tests.fuzz [--minutes N | --inputs N] [--seed S] [--target NAME] [--keep FOLDER]

Each input follows from its target and its seed alone. For each finding the command that repeats it is printed, and the
input is kept; of findings that end in the same line, numbers apart, the first three. Every input must end, within 20 s
of processor time and 1 GiB of memory, with an exit code that means a refusal or success; nothing but a BytecapError may
be raised.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from tests.fuzz.bounded import run_bounded
from tests.fuzz.material import Material, make_material
from tests.fuzz.targets import EVERY, TARGETS

SHOWN = 3
"""Findings of one kind that are printed and kept."""


def main() -> int:
    """Fuzz until the time is over; 1 when there was a finding."""
    options = _options()
    torch.set_num_threads(1)
    names = [options.target] if options.target else list(TARGETS)
    kinds: Counter[str] = Counter()
    counts: dict[str, Counter[int]] = {name: Counter() for name in names}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        material = make_material(_made(Path(temporary) / "material"))
        begin, tries = time.monotonic(), 0
        print(f"fuzzing {', '.join(names)} from seed {options.seed}", flush=True)
        for name, seed in _inputs(names, options):
            kind = _try(name, seed, material, Path(temporary) / "try", counts[name])
            kinds.update([kind] if kind else [])
            tries += 1
            if kind and kinds[kind] <= SHOWN:
                _keep(name, seed, Path(temporary) / "try", options.keep / f"{name}-{seed}")
    for name in names:
        ends = ", ".join(f"{code}: {count:,}" for code, count in sorted(counts[name].items()))
        print(f"{name:<12}{ends}")
    for kind, count in kinds.most_common():
        print(f"{count:>5} x {kind[:160]}")
    print(f"{tries:,} inputs up to seed {seed}, {kinds.total():,} findings, {time.monotonic() - begin:.0f} s")
    return 1 if kinds else 0


def _inputs(names: list[str], options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Targets in turn, seed after seed, until the time is over or there were so many seeds."""
    end = time.monotonic() + 60 * options.minutes
    for seed in itertools.count(options.seed):
        if options.inputs is not None and seed == options.seed + options.inputs:
            return
        for name in names:
            if options.inputs is None and time.monotonic() > end:
                return
            if len(names) == 1 or seed % EVERY.get(name, 1) == 0:
                yield name, seed


def _try(name: str, seed: int, material: Material, folder: Path, counts: Counter[int]) -> str:
    """Run one input; what kind of finding it was, or an empty string. The folder is left as it is."""
    shutil.rmtree(folder, ignore_errors=True)
    rng = random.Random(f"{name} {seed}")
    outcome = run_bounded(lambda: TARGETS[name](rng, material, _made(folder / "input")), _made(folder) / "output.txt")
    counts.update(outcome.codes)
    (folder / "finding.txt").write_text(outcome.finding, "utf-8", "surrogatepass")
    last = (outcome.finding.strip().splitlines() or [""])[-1]
    return re.sub(r"\d+", "N", ascii(last)) if last else ""


def _keep(name: str, seed: int, folder: Path, kept: Path) -> None:
    """Copy the input with its output, and print the command that repeats it."""
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder, kept)
    last = (folder / "finding.txt").read_text("utf-8", "replace").strip().splitlines()[-1]
    print(f"FINDING python -m tests.fuzz --target {name} --seed {seed} --inputs 1: {ascii(last)[:160]}", flush=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default 1)")
    parser.add_argument("--inputs", type=int, help="so many inputs for each target, instead of a time")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="the first seed")
    parser.add_argument("--target", choices=list(TARGETS), help="one kind of input (default all in turn)")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-findings"), help="folder for inputs that broke something"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
