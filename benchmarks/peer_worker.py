"""The part of fit_vs_peers.py that runs in a peer's own environment; it needs numpy, safetensors and the peer.

usage: python benchmarks/peer_worker.py FOLDER

In:   FOLDER/job.json (peer, variants) and FOLDER/given.safetensors: `matrix/NAME` to quantize, `vector/NAME` at 16
      bits, `importance/NAME` (mean square of each input), `tokens` (windows to calibrate on),
      `rest/NAME` (what is left as it is).
Out:  for variant I FOLDER/I.own (the tool's own form), FOLDER/I.plain (the same content with one code a byte and the
      scales after it, for a byte compressor; empty where the form is entropy coded), FOLDER/I.safetensors (the floats);
      FOLDER/outcomes.json with the versions, and for each variant its seconds or why it failed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from peers.autoround import run_autoround
from peers.ggml import run_ggml, run_gguf
from peers.given import Arrays, Given, Made, Variant
from peers.gptqmodel import run_gptqmodel
from peers.integers import run_hqq, run_torchao
from peers.nncodec import run_nncodec
from safetensors.numpy import load_file, save_file

PEERS: dict[str, tuple[Callable[[Given, Variant], Made], tuple[str, ...]]] = {
    "nncodec": (run_nncodec, ("nncodec", "torch")),
    "hqq": (run_hqq, ("hqq", "torch")),
    "gguf": (run_gguf, ("gguf",)),
    "ggml": (run_ggml, ("pywhispercpp", "gguf")),
    "autoround": (run_autoround, ("auto-round", "torch")),
    "gptqmodel": (run_gptqmodel, ("gptqmodel", "torch")),
    "torchao": (run_torchao, ("torchao", "torch")),
}


def main() -> None:
    """Every variant of the job."""
    folder = Path(sys.argv[1])
    job, tensors = json.loads((folder / "job.json").read_text()), load_file(folder / "given.safetensors")
    parts: dict[str, Arrays] = {"matrix": {}, "vector": {}, "importance": {}, "rest": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition("/")
        if kind in parts:
            parts[kind][rest] = value
    given = Given(parts["matrix"], parts["vector"], parts["importance"], parts["rest"], tensors.get("tokens"), folder)
    run, packages = PEERS[job["peer"]]
    outcomes: dict[str, Any] = {"versions": {package: version(package) for package in packages}, "variants": []}
    for index, variant in enumerate(job["variants"]):
        begin = time.perf_counter()
        try:
            made = run(given, variant)
        except Exception as error:  # whatever it is, the report says it
            outcomes["variants"].append({"failed": f"{type(error).__name__}: {error}"})
            continue
        outcomes["variants"].append({"seconds": time.perf_counter() - begin})
        (folder / f"{index}.own").write_bytes(made.own)
        (folder / f"{index}.plain").write_bytes(made.plain)
        save_file({n: np.ascontiguousarray(w) for n, w in made.floats.items()}, folder / f"{index}.safetensors")
    (folder / "outcomes.json").write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main()
