"""How much source it takes to read a `.bcap` file and run its model: what a contest that counts code would count.

usage: python benchmarks/reading_code.py

Prints each module of bytecap that reading imports, then all of them together, plain and compressed. numpy, torch,
brotli and zstandard are counted by nobody, being installed.
"""

from __future__ import annotations

import argparse
import lzma
import sys
from pathlib import Path

import bytecap.artifact.load
from bytecap.coding.general import BROTLI, compress


def main() -> None:
    """One line for each module, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    assert bytecap.artifact.load
    files = {
        name: Path(module.__file__)
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] == "bytecap" and module.__file__
    }
    for name, path in files.items():
        print(f"{path.stat().st_size:8,}  {name}")
    source = b"".join(path.read_bytes() for path in files.values())
    print(
        f"{len(files)} modules, {len(source):,} bytes; {len(compress(BROTLI, source)):,} by brotli-11, "
        f"{len(lzma.compress(source, preset=9)):,} by xz -9"
    )


if __name__ == "__main__":
    main()
