"""How much source it takes to read a `.bcap` file and run its model: what a contest that counts code would count.

usage: python benchmarks/reading_code.py

Prints each module of bytecap that reading imports, then all of them together, plain and compressed, as they are and
without docstrings and comments. numpy, torch, brotli and zstandard are counted by nobody, being installed.
"""

from __future__ import annotations

import argparse
import ast
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
    sources = [path.read_bytes() for path in files.values()]
    for what, whole in (("as they are", sources), ("without docstrings and comments", map(without_words, sources))):
        source = b"".join(whole)
        print(
            f"{len(files)} modules {what}, {len(source):,} bytes; {len(compress(BROTLI, source)):,} by brotli-11, "
            f"{len(lzma.compress(source, preset=9)):,} by xz -9"
        )


def without_words(source: bytes) -> bytes:
    """The same code without docstrings and comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            kept = [item for item in node.body if not is_text(item)]
            node.body = kept or [ast.Pass()]
    return ast.unparse(tree).encode()


def is_text(item: ast.stmt) -> bool:
    """True of a string that stands alone."""
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


if __name__ == "__main__":
    main()
