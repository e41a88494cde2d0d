"""The fit against other quantization tools, run for real, at equal bytes on disk, on finished checkpoints.

usage: python benchmarks/fit_vs_peers.py [--peer-python NAME=PATH]... [--only NAME,NAME] [--blocks] [--json FILE] RUN...

For every peer a Python that has it, best in an environment of its own (torch>=2.11,<2.14 where it needs torch); a peer
without one is run in this Python, and reported as not run if it is not there either:

  nncodec    ISO/IEC 15938-17 reference software (DeepCABAC, trellis-coded quantization): pip install nncodec
  gguf       GGUF's legacy types as the `gguf` package quantizes: pip install gguf
  ggml       llama.cpp's quantizers with and without importance matrix, out of a shared library:
             pip install gguf pywhispercpp
  hqq        half-quadratic quantization: pip install hqq
  torchao    weight-only integers: pip install torchao
  gptqmodel  GPTQ, blocks only: pip install gptqmodel
  autoround  AutoRound, blocks only: pip install auto-round

Each environment also needs safetensors. What is compared, for each setting of a peer:

* its file: the 2-D weights quantized, vectors at 16 bits, no tokenizer. Where the tool does not code the entropy, its
  size is the least of the file itself, the file behind brotli-11 or zstd-22, and the same content with one code a byte
  and scales in byte planes behind brotli-11 or zstd-22 (without any header). So the coder is never a bad one;
* for one setting several variants (a finer embedding, one step for all tensors or one for each, axis, with or without
  importance matrix): the one with the least KL on 8,192 positions counts, sizes made equal at one bit per weight for a
  factor of 4;
* bytecap, fitted to at most the bytes that came out, everything counted that is in its file.

KL to the original is a mean over 51,200 held-out positions with a 95 % interval. Peers that calibrate get the windows
that bytecap is calibrated on. "blocks" leaves the embedding as it is on both sides and counts neither.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fit_vs_published import Bench, size_search
from peers.running import PeerError, run_peer, sizes_of
from peers.settings import Variants, make_peers
from safetensors.numpy import load_file

from bytecap.core.errors import BytecapError
from bytecap.core.progress import Silent
from bytecap.core.settings_writer import to_sparse
from bytecap.core.units import bits_per_byte, bits_per_weight
from bytecap.fitting.measure import comparison_windows
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.source import WeightSource
from bytecap.formats.base import StoredTensor
from bytecap.formats.floats import FloatTensor
from bytecap.formats.tensor import QuantizedModel
from bytecap.model.gpt import GPT
from bytecap.model.roles import Role
from bytecap.quant.statistics import Calibration
from bytecap.run import recipe as recipes
from bytecap.scoring.divergence import Divergence, divergence, gpt_logits
from bytecap.text.batches import TrainBatches

CHOOSING_TOKENS = 8_192
"""Held-out positions on which the variants of one setting are compared with one another."""


def given_to_peers(bench: Bench, part: WeightSource, calibration: Calibration, seed: int) -> dict[str, Any]:
    """Weights, vectors at 16 bits, mean squares of inputs and the calibration's windows."""
    given: dict[str, Any] = {}
    for shape in part.shapes:
        weight = part.weights[shape.name]
        if shape.role == Role.SCALAR:
            given[f"vector/{shape.name}"] = weight.astype(np.float16)
        else:
            given[f"matrix/{shape.name}"] = weight
            curvature = calibration.tensors[shape.name]
            inputs = curvature.inputs_II if curvature.linear_II is None else curvature.linear_II
            given[f"importance/{shape.name}"] = np.diagonal(inputs).astype(np.float32)
    left = {n: w for n, w in bench.source.weights.items() if n not in part.weights}
    given |= {f"rest/{name}": weight for name, weight in left.items()}
    context = bench.recipe.train.context
    source = TrainBatches(bench.tokens.train_stream(), batch=8, context=context, seed=seed)
    given["tokens"] = np.concatenate([source.next() for _ in range(bench.tokens_wanted // (8 * context))])
    return given


class Match:
    """One checkpoint, one part of it, against one peer."""

    def __init__(self, bench: Bench, part: WeightSource, search: SizeSearch, given: dict[str, Any]) -> None:
        self.bench, self.part, self.search, self.given = bench, part, search, given
        self.count = sum(v.size for n, v in given.items() if n.startswith("matrix/"))

    def rows(self, name: str, python: str, settings: dict[str, Variants]) -> Iterator[dict[str, Any]]:
        """One row for each setting, whether it ran or not."""
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            flat = [(setting, variant) for setting, variants in settings.items() for variant in variants]
            try:
                job = {"peer": name, "variants": [variant for _, variant in flat], "bos": self.bench.bos}
                outcomes = run_peer(python, job | {"model": to_sparse(self.bench.model.spec)}, self.given, folder)
            except (PeerError, OSError, subprocess.TimeoutExpired) as error:
                yield {"peer": name, "setting": "", "failed": str(error)}
                return
            for setting in settings:
                tried = [(i, v, outcomes["variants"][i]) for i, (s, v) in enumerate(flat) if s == setting]
                yield {
                    "peer": name,
                    "setting": setting,
                    "versions": outcomes["versions"],
                    **self.one(folder, tried),
                }

    def one(self, folder: Path, tried: list[tuple[int, dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
        """The best variant of a setting, and bytecap at its bytes."""
        best: dict[str, Any] | None = None
        for index, variant, outcome in tried:
            if "failed" in outcome:
                continue
            sizes = sizes_of(*((folder / f"{index}.{end}").read_bytes() for end in ("own", "plain")))
            form, size = min(sizes.items(), key=lambda item: item[1])
            model = self.model(load_file(folder / f"{index}.safetensors"))
            found = self.report(self.quick(model), size)
            level = math.log2(found["kl"]) + 2 * found["bits_per_weight"]
            if best is None or level < best["level"]:
                best = {"variant": variant, "sizes": sizes, "form": form, "level": level, "model": model, **outcome}
        if best is None:
            return {"failed": tried[0][2]["failed"]}
        best |= self.report(self.bench.compare(best.pop("model")), best["sizes"][best["form"]])
        begin = time.perf_counter()
        try:
            result = self.search.fit(best["bytes"], Silent())
        except BytecapError as error:
            return {"theirs": best, "failed": f"bytecap: {error}"}
        ours = self.report(self.bench.compare(result.model), len(result.data))
        ours["seconds"] = time.perf_counter() - begin
        ratio = ours["kl"] / best["kl"]
        spread = ratio * math.hypot(ours["kl_interval"] / ours["kl"], best["kl_interval"] / best["kl"])
        return {"theirs": best, "ours": ours, "ratio": ratio, "ratio_interval": spread}

    def quick(self, model: QuantizedModel) -> Divergence:
        """On few positions, to choose among variants."""
        original, stream = self.bench.model, self.bench.tokens.validation_stream()
        fitted = GPT(original.spec)
        fitted.load_state_dict({**original.state_dict(), **model.state_dict()})
        windows = comparison_windows(stream, tokens=CHOOSING_TOKENS, context=256, device=torch.device("cpu"))
        return divergence(gpt_logits(original, self.bench.bos), gpt_logits(fitted.eval(), self.bench.bos), windows)

    def model(self, floats: dict[str, np.ndarray[Any, Any]]) -> QuantizedModel:
        """What the peer's file stands for; its vectors are ours at 16 bits unless it codes them itself."""
        tensors: dict[str, StoredTensor] = {}
        for shape in self.part.shapes:
            values = floats.get(shape.name)
            if values is None:
                values = self.given[f"vector/{shape.name}"]
            tensors[shape.name] = FloatTensor(shape.role, values.astype(np.float32).reshape(shape.shape))
        return QuantizedModel(tensors)

    def report(self, found: Divergence, size: int) -> dict[str, Any]:
        """Of one model."""
        kl, interval = (
            1000 * bits_per_byte(nats, 1) / self.bench.bytes_per_token for nats in (found.kl, found.kl_interval)
        )
        return {
            "bytes": size, "bits_per_weight": bits_per_weight(size, self.count), "kl": found.kl,
            "kl_interval": found.kl_interval, "kl_mbpb": kl, "kl_interval_mbpb": interval, "positions": found.tokens,
        }  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    who = f"{row['part']:6} {row['peer']:9} {row['setting']:22}"
    if "failed" in row:
        return f"{who} not run: {row['failed']}"
    theirs, ours = row["theirs"], row["ours"]
    variant = " ".join(
        f"{key}={value}" for key, value in theirs["variant"].items() if key not in ("qp_per_tensor", "vector_qp")
    )
    return (
        f"{who} {theirs['sizes']['own']:9,} -> {theirs['bytes']:9,} bytes {theirs['bits_per_weight']:5.2f} b/w  KL "
        f"{theirs['kl_mbpb']:9.4f} ± {theirs['kl_interval_mbpb']:.4f}  bytecap {ours['bytes']:9,} KL "
        f"{ours['kl_mbpb']:9.4f} ± {ours['kl_interval_mbpb']:.4f} mbpb  ratio {row['ratio']:.3f} ± "
        f"{row['ratio_interval']:.3f}  {ours['seconds']:.0f} s  [{theirs['form']}; {variant}]"
    )


def compared(folder: Path, pythons: dict[str, str], given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every row of one checkpoint."""
    bench = Bench(folder, given.tokens)
    config = recipes.with_overrides(recipes.resolve("baseline", track="laptop"), given.set).quant
    calibration = bench.calibration(given.seed)
    matches: dict[bool, Match] = {}
    for blocks in (False, True):
        part = bench.part(blocks)
        search = size_search(part, calibration, config)
        matches[blocks] = Match(bench, part, search, given_to_peers(bench, part, calibration, given.seed))
    weights = {s.name: bench.source.weights[s.name] for s in bench.part(given.blocks).shapes if s.role != Role.SCALAR}
    for name, peer in make_peers(weights).items():
        if given.only and name not in given.only.split(","):
            continue
        blocks = peer.blocks or given.blocks
        settings = {label: variants for label, variants in peer.settings.items() if given.setting in label}
        for row in matches[blocks].rows(name, pythons.get(name, sys.executable), settings):
            yield {"run": str(folder), "part": "blocks" if blocks else "whole", **row}


def main() -> None:
    """Print the table, and save it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--peer-python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--only", help="peers, separated by commas")
    parser.add_argument("--setting", default="", help="only settings whose name holds this, such as '4 bits'")
    parser.add_argument("--blocks", action="store_true", help="leave the embedding out for every peer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=65_536)
    parser.add_argument("--set", action="append", default=[], help="a setting of the fit, such as quant.states=32")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    pythons = dict(word.split("=", 1) for word in given.peer_python)
    rows = []
    for folder in given.runs:
        print(f"{folder}, calibrated on {given.tokens:,} tokens, seed {given.seed}", flush=True)
        for row in compared(folder, pythons, given):
            rows.append(row)
            print(line(row), flush=True)
            if given.json:
                given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
