"""The demo's record as the README's table: seconds of each stage, and bits per byte against general compressors.

usage: python benchmarks/demo.py [RUN]      RUN is a finished run folder; without it the demo is run into a fresh one
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bytecap.run.record import load_record


def run_demo() -> dict[str, Any]:
    """The record of the demo, run into a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "bytecap", "run", "--out", f"{temporary}/demo", "--quiet", "--json"]
        record: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return record


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="a finished run folder")
    options = parser.parse_args()
    begin = time.perf_counter()
    record = load_record(options.run) if options.run else run_demo()
    wall = time.perf_counter() - begin
    stages = "  ".join(f"{stage} {seconds:.1f}" for stage, seconds in record["seconds"].items())
    print(f"{record['hardware']['name']}, {record['hardware']['threads']} threads, torch {record['hardware']['torch']}")
    print(f"command {wall:.1f} s; stages: {stages}; sum {sum(record['seconds'].values()):.1f} s")
    print(f"file {record['artifact']['bytes']:,} of {record['artifact']['cap_bytes']:,} bytes")
    print(f"corpus digest {record['corpus']['digest']}, {record['corpus']['validation_bytes']:,} held-out bytes\n")
    scores = {name: score["bits_per_byte"] for name, score in record["scores"].items()}
    after = scores["after"]
    print(f"{'':24s} {'bits per byte':>14s} {'ours / theirs':>14s}")
    for name in ("before_plain", "after_plain", "before", "after"):
        print(f"{name:24s} {scores[name]:14.4f}")
    for way in ("whole", "per_document"):
        for name, bits in record["compressors"][way].items():
            print(f"{name + ', ' + way:24s} {bits:14.4f} {after / bits:14.3f}")


if __name__ == "__main__":
    main()
