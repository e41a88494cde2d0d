"""Small real files that the targets mutate, made once by the product itself.

In:   an empty folder.
Out:  Material: a finished run, its file under several schemes and compressors, checkpoints, text.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.conftest import make_document
from tests.runs import call

SETTINGS = {
    "text.vocab_size": 300, "text.validation_fraction": 0.3,
    "model.n_layers": 2, "model.d_model": 16, "model.d_ff": 32,
    "train.steps": 8, "train.batch": 4, "train.context": 32,
    "quant.states": 8, "quant.calibration_tokens": 1024, "artifact.cap_bytes": 9000, "score.stride": 8,
}  # fmt: skip
WAYS = (
    (), ("--cap", "6kB", "--compressor", "zlib"), ("--cap", "7kB", "--compressor", "zstd"),
    ("--scheme", "int8", "--keep-small", "0", "--compressor", "lzma"), ("--scheme", "pr1797", "--keep-small", "0"),
)  # fmt: skip
"""Options of `fit` that bring every stored format and every compressor into a file."""


@dataclass(frozen=True)
class Material:
    """Where the valid files lie."""

    folder: Path
    corpus: Path
    run: Path
    text: Path
    """A short text to score."""
    artifacts: tuple[Path, ...]
    """Files of this program, and the golden ones of every version."""
    checkpoint: Path
    """Of ours, outside its run."""
    foreign: Path
    """Weights of somebody else."""
    pickled: Path
    """The same and more as `torch.save` writes it, nested."""
    tokenizer: Path


def run_arguments(corpus: Path, run: Path) -> list[str]:
    """The command that makes the run and goes on with it."""
    sets = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    return ["run", "baseline", "--text", str(corpus), "--out", str(run), "--device", "cpu", "--quiet", *sets]


def make_material(folder: Path) -> Material:
    """Train, fit, save: about twenty seconds."""
    corpus, run = folder / "corpus", folder / "run"
    corpus.mkdir()
    for seed in range(24):
        (corpus / f"document_{seed:02d}.txt").write_text(make_document(seed, 120), "utf-8")
    with _silent() as said:
        _must(said, *run_arguments(corpus, run))
        checkpoint, foreign = folder / "ours.safetensors", folder / "foreign.safetensors"
        checkpoint.write_bytes((run / "checkpoint.safetensors").read_bytes())
        torch.manual_seed(0)
        weights = {name: torch.randn(24, 16) for name in ("wte.weight", "h.0.attn.weight", "h.0.mlp.up.weight")}
        save_file(weights | {"ln.weight": torch.ones(16)}, foreign)
        pickled = folder / "last.pt"
        nested = {"model": weights, "ema": {"shadow": weights}, "step": 3, "args": {"lr": 0.1, "names": ["a", "b"]}}
        torch.save(nested, pickled)
        artifacts = []
        for index, way in enumerate(WAYS):
            artifacts.append(folder / f"file_{index}.bcap")
            _must(said, "fit", run, "--out", artifacts[-1], "--quiet", *way)
        artifacts.append(folder / "bare.bcap")
        _must(said, "fit", foreign, "--cap", "3kB", "--out", artifacts[-1], "--quiet")
    artifacts += sorted((Path(__file__).parents[1] / "golden").rglob("*.bcap"))
    text = folder / "short.txt"
    text.write_text(make_document(99, 40), "utf-8")
    return Material(
        folder, corpus, run, text, tuple(artifacts), checkpoint, foreign, pickled, run / "tokens" / "tokenizer.model"
    )


def _must(said: io.StringIO, *arguments: str | Path) -> None:
    if code := call(*arguments):
        raise RuntimeError(f"{arguments[0]} left with {code} while the valid files were made: {said.getvalue()[-500:]}")


@contextlib.contextmanager
def _silent() -> Iterator[io.StringIO]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said
