"""Seconds and peak memory of a fit at contest scale: 36 M random weights under 16,000,000 bytes.

usage: python benchmarks/fit_time.py [--calibrate TOKENS] [--layers 11] [--width 512] [--hidden 2048] [--vocab 8192]
                                     [--cap 16000000] [--device cpu] [--low-memory] [--set quant.states=8 ...]

GPT-2 small's shapes: --layers 12 --width 768 --hidden 3072 --vocab 50257 --cap 55000000.

The model of the contest's shape (11 blocks of width 512, hidden 2,048, 8,192 pieces), weights normal with the spread
that training leaves (rows and columns differ), tokens random. Without --calibrate the curvature is drawn at random,
with full factors on both sides as a calibration would give, so that the rounding does all of its work. Prints seconds
of each part, by the clock and of the processors (which other work on the machine changes less): calibration, factors,
prediction, rounding and search, of which coding, reading back; the largest memory of the process until then; and checks
that the file gives the weights that were packed.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bytecap.artifact.load import loads
from bytecap.artifact.pack import ArtifactConfig, Provenance
from bytecap.core.device import choose_device
from bytecap.core.progress import Silent
from bytecap.fitting.job import Container
from bytecap.fitting.measure import CalibrationText, measure
from bytecap.fitting.problem import build_problem
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.source import source_from_module
from bytecap.formats.tensor import QuantizedModel
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.quant.allocation import QuantConfig
from bytecap.quant.recorder import MAX_OUTPUTS
from bytecap.quant.spill import keep, spilling
from bytecap.quant.statistics import Calibration, Curvature
from bytecap.run import recipe as recipes
from bytecap.text.shards import ShardWriter, TokenStream

ABOUT = Provenance(
    recipe_digest="", corpus_digest="", checkpoint_digest="", tokenizer_digest="", lossless=True, context=1024
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("layers", 11), ("width", 512), ("hidden", 2048), ("vocab", 8192), ("cap", 16_000_000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--calibrate", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--low-memory", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    model = _model(given)
    config = recipes.with_overrides(recipes.resolve("baseline", track="laptop"), given.set).quant
    with spilling(given.low_memory):
        _fit(model, config, given)


def _fit(model: GPT, config: QuantConfig, given: argparse.Namespace) -> None:
    source, seconds = source_from_module(model), dict[str, float]()
    clock, processors, coding = time.perf_counter(), time.process_time(), 0.0

    def lap(name: str) -> None:
        nonlocal clock, processors
        seconds[name] = time.process_time() - processors
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name:12} {time.perf_counter() - clock:8.1f} s {seconds[name]:8.1f} CPU s {peak:8.0f} MiB", flush=True)
        clock, processors = time.perf_counter(), time.process_time()

    lap("start")

    if given.calibrate:
        calibration = _measured(model.to(choose_device(given.device)), given, source.digest)
        model.cpu()
        lap("calibration")
    else:
        calibration = _drawn(model, source.digest)
        lap("drawn")
    file = ArtifactConfig(cap_bytes=given.cap, embed_tokenizer=False)
    packer = Container(ABOUT, file).packer(source)

    def pack(quantized: QuantizedModel) -> bytes:
        nonlocal coding
        begin = time.thread_time()
        data = packer(quantized)
        coding += time.thread_time() - begin
        return data

    search = SizeSearch(build_problem(source, calibration, config), pack)
    lap("factors")
    predicted = search.predict(given.cap, Silent())
    lap("prediction")
    result = search.fit(given.cap, Silent())
    lap("rounding")
    artifact = loads(result.data)
    lap("decode")
    found = artifact.quantized.tensors
    assert all(np.array_equal(found[name].weights(), one.weights()) for name, one in result.model.tensors.items())
    fit_seconds = sum(value for name, value in seconds.items() if name not in ("start", "drawn", "decode"))
    print(
        f"{result.model.weights:,} weights, {len(result.data):,} of {given.cap:,} bytes (predicted "
        f"{predicted.size_bytes:,}), {result.roundings:.2f} passes; CPU s: fit {fit_seconds:.1f}, of which coding "
        f"{coding:.1f}; decode {seconds['decode']:.1f}"
    )


def _model(given: argparse.Namespace) -> GPT:
    torch.manual_seed(0)
    model = GPT(
        ModelSpec(
            vocab_size=given.vocab, n_layers=given.layers, d_model=given.width, n_heads=given.width // 64,
            n_kv_heads=max(1, given.width // 128), d_ff=given.hidden,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                rows, columns = (torch.exp(0.3 * torch.randn(size)) for size in parameter.shape)
                parameter.normal_(std=0.05).mul_(rows[:, None]).mul_(columns)
    return model


def _drawn(model: GPT, digest: str) -> Calibration:
    """Curvature of full rank with a spread over rows and columns, one draw for each shape."""
    rng, drawn, tensors = np.random.default_rng(0), dict[int, np.ndarray](), {}
    for name, parameter in model.named_parameters():
        if parameter.ndim != 2 or min(parameter.shape) < 8:
            continue
        for size in parameter.shape:
            if size not in drawn and size <= MAX_OUTPUTS:
                x = rng.normal(size=(2 * size, size)).astype(np.float32) * np.exp(0.5 * rng.normal(size=size))
                drawn[size] = (x.T @ x / (2 * size)).astype(np.float32)
        rows, columns = parameter.shape
        outputs = drawn[rows] if rows <= MAX_OUTPUTS else np.exp(rng.normal(size=rows)).astype(np.float32)
        tensors[name] = keep(Curvature(inputs_II=drawn[columns], outputs=outputs * 1e-6, gradient_square=1.0))
    return Calibration(source_digest=digest, tokens=0, loss=0.0, unigram=float("inf"), tensors=tensors)


def _measured(model: GPT, given: argparse.Namespace, digest: str) -> Calibration:
    with tempfile.TemporaryDirectory() as temporary:
        writer = ShardWriter(Path(temporary), "train", 1 << 24)
        writer.write(np.random.default_rng(0).integers(4, given.vocab, 4 * given.calibrate).tolist())
        writer.close()
        text = CalibrationText(TokenStream(writer.paths), 1, 1024, 0)
        return measure(model, text, QuantConfig(calibration_tokens=given.calibrate), digest, Silent())


if __name__ == "__main__":
    main()
