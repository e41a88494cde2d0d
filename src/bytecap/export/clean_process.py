"""Opens an exported folder in a process that cannot import bytecap, and brings back its logits and tokens.

In:   a folder, token rows, texts.
Out:  what `export/remote/open_folder.py` found there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from bytecap.core.errors import NumericsError
from bytecap.core.files import read_json

_SCRIPT = Path(__file__).parent / "remote" / "open_folder.py"
_SHOWN = 300


@dataclass(frozen=True)
class Opened:
    """What transformers alone makes of the folder."""

    model: str
    """The name of the model's class."""
    tokenizer: str
    """The name of the tokenizer's class; empty where no text was asked."""
    logits: list[Tensor]
    """(B, T, V) for each batch of rows."""
    ids: list[list[int]]
    """The tokens of each text, as the tokenizer gives them when nothing else is asked."""
    texts: list[str]
    """What those decode to."""


def open_in_clean_process(folder: Path, tokens: Sequence[Tensor], texts: Sequence[str]) -> Opened:
    """Open a folder in a process of its own; NumericsError with its last line of output where that fails."""
    with tempfile.TemporaryDirectory() as out:
        job = {
            "paths": sys.path, "folder": str(folder.absolute()), "out": out,
            "tokens": [rows_BT.tolist() for rows_BT in tokens], "texts": list(texts),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-I", str(_SCRIPT)], input=json.dumps(job), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise NumericsError(
                f"transformers cannot open what was made of the file ({last[-_SHOWN:]}); nothing was written. Export "
                "--to safetensors instead"
            )
        found, logits = read_json(Path(out) / "found.json"), load_file(Path(out) / "logits.safetensors")
    return Opened(
        found["model"], found["tokenizer"], [logits[str(n)] for n in range(len(tokens))], found["ids"], found["texts"]
    )
