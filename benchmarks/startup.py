"""How long the command line takes to start, as whole processes.

usage: python benchmarks/startup.py      prints the median of 9 runs for `--help` and `recipes`, beside bare Python
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def median(arguments: list[str], runs: int = 9) -> float:
    """Seconds of one process, after a warm-up."""
    times = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    bare = median(["-c", "pass"])
    print(f"python -c pass      {bare:.3f} s")
    for verb in ("--help", "recipes"):
        seconds = median(["-m", "bytecap", verb])
        print(f"bytecap {verb:10s}  {seconds:.3f} s, {seconds / bare:.1f} times bare Python")


if __name__ == "__main__":
    main()
