"""A peer run in its own environment, and the sizes of what it wrote.

In:   the Python that has the peer, a job for peer_worker.py, arrays.
Out:  what became of each variant; bytes on disk in each form that is allowed.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from bytecap.coding.general import BROTLI, ZSTD, compress

WORKER = Path(__file__).parents[1] / "peer_worker.py"
LONGEST_SECONDS = 1_800


class PeerError(Exception):
    """The peer did not run at all."""


def run_peer(python: str, job: dict[str, Any], given: dict[str, np.ndarray[Any, Any]], folder: Path) -> dict[str, Any]:
    """What the worker says of each variant; its files are in the folder then."""
    save_file({n: np.ascontiguousarray(v) for n, v in given.items()}, folder / "given.safetensors")
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [python, WORKER, folder], capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False, cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "GPTQMODEL_CPU_WORKERS": "2"},
    )  # fmt: skip
    if done.returncode:
        raise PeerError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    outcomes: dict[str, Any] = json.loads((folder / "outcomes.json").read_text())
    return outcomes


def sizes_of(own: bytes, plain: bytes) -> dict[str, int]:
    """Bytes on disk in every form that is allowed."""
    sizes = {"own": len(own)}
    for form, data in (("own", own), ("codes", plain)):
        if plain:
            sizes |= {f"{form} + {codec}": len(compress(codec, data)) for codec in (BROTLI, ZSTD)}
    return sizes
