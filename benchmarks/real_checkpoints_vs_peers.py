"""Checkpoints that nobody here made: the fit of the bare file against HQQ, GGUF's types and nncodec, at equal bytes.

usage: python benchmarks/real_checkpoints_vs_peers.py FOLDER --peer-python NAME=PATH .. [--only NAMES] [--rows FILE]

FOLDER as for real_checkpoints.py, peers and their environments as for fit_vs_peers.py. None of these peers looks at
data, so ours has none either. A peer takes the tensors with two axes or more that it accepts, as matrices of one row
for each output: GGUF those whose rows are multiples of 32, HQQ those whose weights are multiples of its group; all
else is at 16 bits in its file. Its size is the least of its own file, that file behind brotli-11 or zstd-22, and its
codes and scales behind either. Of a setting's variants the one with the least error counts, sizes made equal at one bit
per weight for a factor of 2. The error is that of the outputs, as in real_checkpoints.py.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers.running import PeerError, run_peer, sizes_of
from peers.settings import Variants, nncodec_settings
from public_models import OPENERS
from public_models.checkpoint import Checkpoint, Weights
from real_checkpoints import bare, relative
from safetensors.numpy import load_file

from bytecap.core.errors import BytecapError

GROUP, BLOCK = 64, 32
MIN_TAKEN = 0.9
"""Part of the weights that a peer must take, or its file is mostly 16 bits and tells nothing of it."""
Arrays = dict[str, np.ndarray[Any, Any]]
TAKES: dict[str, Callable[[np.ndarray[Any, Any]], bool]] = {
    "hqq": lambda weight: weight.size % GROUP == 0,
    "gguf": lambda weight: weight.shape[1] % BLOCK == 0,
    "nncodec": lambda weight: True,
}


def settings(peer: str, matrices: Arrays) -> dict[str, Variants]:
    """What a peer is asked for, near 4 bits and near 3 where it has that."""
    if peer == "hqq":
        return {
            f"{bits} bits, group {GROUP}": [{"nbits": bits, "group": GROUP, "axis": axis} for axis in (0, 1)]
            for bits in (4, 3)
        }
    if peer == "gguf":
        return {kind: [{"type": kind}] for kind in ("Q8_0", "Q5_0", "Q4_0")}
    found = nncodec_settings(matrices)
    return {name: found[name] for name in ("QP for about 4 bits", "QP for about 3 bits")}


def given(weights: Weights, peer: str) -> tuple[Arrays, dict[str, str]]:
    """The arrays for a peer under short names, and the names of the tensors."""
    arrays: Arrays = {}
    names: dict[str, str] = {}
    for index, (name, value) in enumerate(weights.items()):
        if not value.is_floating_point():
            continue
        matrix = value.float().reshape(len(value) if value.ndim else 1, -1).numpy()
        takes = value.ndim > 1 and TAKES[peer](matrix)
        names[f"t{index}"] = name
        arrays[f"{'matrix' if takes else 'vector'}/t{index}"] = matrix if takes else matrix.astype(np.float16)
    return arrays, names


def outcomes(checkpoint: Checkpoint, peer: str, python: str, wanted: torch.Tensor) -> Iterator[dict[str, Any]]:
    """One row for each setting: bytes and error of its best variant."""
    arrays, names = given(checkpoint.weights, peer)
    matrices = {key.removeprefix("matrix/"): value for key, value in arrays.items() if key.startswith("matrix/")}
    asked = settings(peer, matrices)
    flat = [(setting, variant) for setting, variants in asked.items() for variant in variants]
    count = sum(value.numel() for value in checkpoint.weights.values())
    if (taken := sum(matrix.size for matrix in matrices.values())) < MIN_TAKEN * count:
        raise PeerError(f"it takes {taken:,} of {count:,} weights")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        found = run_peer(python, {"peer": peer, "variants": [v for _, v in flat]}, arrays, folder)
        best: dict[str, dict[str, Any]] = {}
        for index, (setting, variant) in enumerate(flat):
            row: dict[str, Any] = {"setting": setting, "variant": variant, "taken": len(matrices)}
            if "failed" in found["variants"][index]:
                best.setdefault(setting, row | {"failed": found["variants"][index]["failed"], "level": math.inf})
                continue
            size = min(sizes_of(*((folder / f"{index}.{end}").read_bytes() for end in ("own", "plain"))).values())
            floats = load_file(folder / f"{index}.safetensors")
            row |= {
                "bytes": size,
                "theirs": relative(checkpoint.outputs(stored(checkpoint, arrays, names, floats)), wanted),
            }
            row["level"] = math.log2(row["theirs"]) + 8 * size / count
            if row["level"] < best.get(setting, {"level": math.inf})["level"]:
                best[setting] = row
        yield from best.values()


def stored(checkpoint: Checkpoint, arrays: Arrays, names: dict[str, str], floats: Arrays) -> Weights:
    """The weights that a peer's file stands for."""
    weights = dict(checkpoint.weights)
    for key, array in {**{k.split("/")[1]: v for k, v in arrays.items()}, **floats}.items():
        original = checkpoint.weights[names[key]]
        weights[names[key]] = torch.from_numpy(array.astype(np.float32)).reshape(original.shape).to(original.dtype)
    return weights


def rows_of(name: str, checkpoint: Checkpoint, pythons: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Every row of a checkpoint, ours beside each."""
    wanted = checkpoint.outputs(checkpoint.weights)
    for peer, python in pythons.items():
        common = {"opener": name, "checkpoint": checkpoint.name, "peer": peer}
        try:
            for row in outcomes(checkpoint, peer, python, wanted):
                if "bytes" in row:
                    try:
                        row["ours"] = relative(checkpoint.outputs(bare(checkpoint, row["bytes"])), wanted)
                        row["ratio"] = row["ours"] / row["theirs"]
                    except BytecapError as error:
                        row["failed"] = f"bytecap: {error}"
                yield common | row
        except (PeerError, OSError, subprocess.TimeoutExpired) as error:
            yield common | {"setting": "", "failed": str(error)}


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    who = f"| {row['checkpoint']} | {row['peer']}, {row['setting']} |"
    if "ratio" not in row:
        return f"{who} not run: {row['failed'][:80]} | | |"
    return f"{who} {row['bytes']:,} | {row['theirs']:.4f} | {row['ours']:.4f} ({row['ratio']:.2f}) |"


def main() -> int:
    """Print one row after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--peer-python", action="append", required=True, metavar="NAME=PATH", help="of " + ", ".join(TAKES)
    )
    parser.add_argument("--only", default=",".join(OPENERS), help="of " + ", ".join(OPENERS))
    parser.add_argument("--rows", type=Path, help="a file that gets one JSON object a line")
    asked = parser.parse_args()
    pythons = dict(word.split("=", 1) for word in asked.peer_python)
    print("| checkpoint | peer | bytes | theirs | ours (ratio) |\n|---|---|---:|---:|---:|")
    for name in asked.only.split(","):
        for row in rows_of(name, OPENERS[name](asked.folder), pythons):
            print(line(row), flush=True)
            if asked.rows:
                with asked.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
