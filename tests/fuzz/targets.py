"""What is fuzzed, by name.

In:   a generator, the valid files and an empty folder.
Out:  the exit codes of the commands that were run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.artifacts import artifact
from tests.fuzz.material import Material
from tests.fuzz.products import checkpoint, convert, products
from tests.fuzz.settings import recipe
from tests.fuzz.texts import corpus, shards, tokenizer

Target = Callable[[random.Random, Material, Path], list[int]]

TARGETS: dict[str, Target] = {
    "artifact": artifact, "tokenizer": tokenizer, "corpus": corpus, "shards": shards, "recipe": recipe,
    "checkpoint": checkpoint, "convert": convert, "products": products,
}  # fmt: skip

EVERY = {"convert": 10}
"""One seed in so many, when all targets are run: each input starts a process that imports torch."""
