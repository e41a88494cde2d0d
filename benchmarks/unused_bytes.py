"""Unused bytes of fits at random caps: never negative, at most the larger of 64 bytes and 0.02 % of the cap.

usage: python benchmarks/unused_bytes.py RUN [CAPS]

Caps are drawn evenly on a logarithmic scale between the smallest useful size (where the predicted loss is that of token
frequencies) and 8 bits per weight. One measurement, one fit for each cap. Prints the worst and the median.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from bytecap.core.budget import slack_bytes
from bytecap.core.progress import Silent
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.source import open_checkpoint
from bytecap.run import recipe as recipes
from bytecap.run.fits import build_run_fit_job, run_fits
from bytecap.run.job import load_or_measure_calibration
from bytecap.text.tokens import load_tokens
from bytecap.train.checkpoint import CHECKPOINT


def main() -> None:
    """Print a line for each cap, then the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("caps", nargs="?", type=int, default=50, help="how many")
    options = parser.parse_args()
    folder, count = options.run, options.caps
    recipe, tokens = recipes.load(folder / "recipe.toml"), load_tokens(folder / "tokens")
    source = open_checkpoint(folder / CHECKPOINT, finished=True)
    calibration = load_or_measure_calibration(recipe, tokens, folder, source, Silent())
    search = build_run_fit_job(recipe, tokens, source, calibration, run_fits(recipe)[0]).fitter
    assert calibration is not None and isinstance(search, SizeSearch)
    weights = sum(value.size for value in source.weights.values())
    most_loss, step_scale = calibration.unigram - calibration.loss, 2.0**-4
    while (smallest := search.estimate(search.problem, step_scale)).loss > most_loss:
        step_scale /= 2**0.25
    lowest, highest = smallest.size_bytes, weights
    rng, unused, over = np.random.default_rng(0), [], 0
    for cap in np.exp(rng.uniform(np.log(lowest), np.log(highest), count)).astype(int).tolist():
        begin = time.perf_counter()
        result = search.fit(cap, Silent())
        left = cap - len(result.data)
        allowed = slack_bytes(cap)
        over += left > allowed
        unused.append(left)
        assert left >= 0, f"{-left} bytes over a cap of {cap}"
        print(
            f"cap {cap:9,}  unused {left:5}  allowed {allowed:5}  predicted {result.predicted_bytes:9,}  passes "
            f"{result.roundings:.2f}  {time.perf_counter() - begin:.1f} s",
            flush=True,
        )
    print(
        f"{count} caps from {lowest:,} to {highest:,} bytes: unused bytes worst {max(unused)}, median "
        f"{np.median(unused):.0f} bytes; {over} beyond the allowance"
    )


if __name__ == "__main__":
    main()
