"""A `.bcap` file as what other programs open: weights by name, a folder of transformers, a file of llama.cpp.

usage: python examples/for_other_programs.py FILE FOLDER

Each is read back and compared before it has its place, as `bytecap export FILE --to TARGET OUT` does it. What a target
cannot hold is said: llama.cpp runs Llama-shaped models alone.
"""

import sys
from pathlib import Path

from bytecap import load
from bytecap.core.errors import ConfigError
from bytecap.export.job import export


def main() -> None:
    """Three targets, one after the other."""
    artifact, folder = load(Path(sys.argv[1])), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for to, name in (("safetensors", "weights.safetensors"), ("hf", "hf"), ("gguf", "model.gguf")):
        try:
            done = export(artifact, to, folder / name)
        except ConfigError as error:
            print(f"{to}: {error}")
            continue
        print(f"{to}: {done.bytes:,} bytes, {done.growth:.1f} times the file; {done.checked}")


if __name__ == "__main__":
    main()
