"""Resident memory of preparing 100 MB of text against 10 MB: it must not grow with the corpus.

usage: python benchmarks/corpus_memory.py [TEXT...]      TEXT is repeated, with a running number, up to each size;
                                                         without it the standard library's sources are used
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bytecap.text.corpus import Corpus

CHILD = """
import sys, resource
from pathlib import Path
from bytecap.core.progress import Silent
from bytecap.text.config import TextConfig
from bytecap.text.prepare import prepare
tokens = prepare(TextConfig(paths=(sys.argv[1],), tokenizer_sample_bytes=4_000_000), Path(sys.argv[2]), Silent())
print(tokens.train_tokens, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write(path: Path, size: int, documents: list[str]) -> None:
    """JSON lines of about `size` bytes of text, no two documents equal."""
    written = number = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            text = f"{number}\n{documents[number % len(documents)][:20_000]}"
            written += len(text.encode())
            number += 1
            file.write(json.dumps({"text": text}) + "\n")


def main() -> None:
    """Print both peaks and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="*", help="files, folders or globs")
    documents = list(Corpus(tuple(parser.parse_args().text)).documents())
    peaks = []
    with tempfile.TemporaryDirectory() as temporary:
        for megabytes in (10, 100):
            path = Path(temporary) / f"{megabytes}.jsonl"
            write(path, megabytes * 1_000_000, documents)
            command = [sys.executable, "-c", CHILD, str(path), str(Path(temporary) / str(megabytes))]
            tokens, kilobytes = map(int, subprocess.run(command, check=True, capture_output=True).stdout.split())
            peaks.append(kilobytes / 1024)
            print(f"{megabytes:4d} MB of text  {tokens:12,} tokens  peak {kilobytes / 1024:8.1f} MiB")
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
