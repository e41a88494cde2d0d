"""Seconds and peak memory of fitting a Hugging Face folder of GPT-2's shape, stage by stage.

usage: python benchmarks/folder_time.py FOLDER TEXT... [--layers 12] [--width 768] [--vocab 50257] [--context 1024]
                                        [--bits 3.5] [--low-memory] [--set quant.states=8 ...]

FOLDER is made where it does not exist, by transformers' own classes: a GPT-2 with tied embeddings, weights normal with
scales of rows and columns spread as training leaves them (log-normal), a byte-level BPE trained on TEXT. 36 M weights:
--layers 8 --width 512 --vocab 20000. Then it is fitted under a cap of so many bits for each weight, measured on TEXT,
as `bytecap fit FOLDER --cap .. --text TEXT` does. A line for each stage: seconds of the processors and by the clock,
and the most memory that the process had during the stage (of a Linux that tells, else until then).
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from hugging_face_models import train_tokenizer

from bytecap.artifact.pack import ArtifactConfig
from bytecap.core.progress import Silent
from bytecap.fitting.job import FitJob, build_job, read_back
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.source import source_from_module
from bytecap.huggingface.fitting import FolderFit, FolderInputs, make_true_loss, measure
from bytecap.huggingface.folder import open_folder
from bytecap.huggingface.model import load_folder
from bytecap.huggingface.texts import tokenize
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from bytecap.quant.spill import spilling
from bytecap.run.recipe import Recipe, with_overrides
from bytecap.text.config import TextConfig
from bytecap.text.survey import open_corpus


class Laps:
    """Prints what each stage took."""

    def __init__(self, weights: int) -> None:
        self._weights = weights
        print(f"{'stage':12} {'CPU s':>8} {'clock s':>8} {'peak MiB':>9} {'bytes per weight':>17}", flush=True)
        self._begin()

    def __call__(self, name: str) -> None:
        """The end of a stage, and the beginning of the next."""
        peak = _peak_bytes()
        print(
            f"{name:12} {time.process_time() - self._cpu:8.1f} {time.perf_counter() - self._clock:8.1f} "
            f"{peak / 2**20:9.0f} {peak / self._weights:17.1f}",
            flush=True,
        )
        self._begin()

    def _begin(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._cpu, self._clock = time.process_time(), time.perf_counter()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("text", nargs="+")
    for name, value in (("layers", 12), ("width", 768), ("vocab", 50_257), ("context", 1024)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--bits", type=float, default=3.5)
    parser.add_argument("--low-memory", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if not (given.folder / "config.json").exists():
        make_folder(given)
    with spilling(given.low_memory):
        fit(given)


def make_folder(given: argparse.Namespace) -> None:
    """A GPT-2 of random weights with its tokenizer."""
    config = TextConfig(paths=tuple(given.text))
    tokenizer = train_tokenizer(open_corpus(config, config.paths).documents(), given.vocab)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=max(given.vocab, len(tokenizer)), n_positions=given.context, n_embd=given.width,
            n_layer=given.layers, n_head=given.width // 64, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                rows, columns = (torch.exp(0.4 * torch.randn(size)) for size in parameter.shape)
                parameter.mul_(rows[:, None]).mul_(columns)
    model.save_pretrained(given.folder)
    tokenizer.save_pretrained(given.folder)


def fit(given: argparse.Namespace) -> None:
    """The stages of a fit, each with its line."""
    recipe = with_overrides(Recipe(), ["score.stride=1", *given.set])
    folder = open_folder(given.folder)
    tokenizer = HuggingFaceTokenizer.read(given.folder, str(given.folder))
    laps = Laps(sum(_sizes(given.folder)))
    text = tokenize(TextConfig(paths=tuple(given.text)), tokenizer, Silent())
    laps("text")
    model = load_folder(folder, Silent())
    laps("reading")
    how = FolderFit(quant=recipe.quant, artifact=ArtifactConfig(), context=folder.facts.context(None), seed=0)
    inputs = FolderInputs(folder, model, source_from_module(model.module), text, how)
    laps("source")
    calibration = measure(inputs, Silent())
    assert calibration is not None
    laps("measuring")
    true_loss = make_true_loss(inputs, calibration)
    laps("answers")
    job = build_job(
        inputs.source, calibration, recipe.quant, inputs.container(), None, inputs.comparison(), true_loss
    )  # fmt: skip
    laps("factors")
    cap = int(sum(weight.size for weight in inputs.source.weights.values()) * given.bits / 8)
    print(_finish(job, inputs, cap, laps))


def _finish(job: FitJob, inputs: FolderInputs, cap: int, laps: Laps) -> str:
    search = job.fitter
    assert isinstance(search, SizeSearch) and job.comparison is not None
    search.refuse_small_cap(cap)
    laps("smallest")
    predicted = search.predict(cap, Silent())
    laps("prediction")
    result = search.fit(cap, Silent())
    laps("rounding")
    artifact = read_back(result, inputs.source.aliases)
    laps("reading back")
    found = job.comparison.measure(inputs.source, artifact)
    laps("comparing")
    return (
        f"{result.model.weights:,} weights, {len(result.data):,} of {cap:,} bytes "
        f"(predicted {predicted.size_bytes:,}), {result.roundings:.2f} roundings, KL {found and found.kl}"
    )


def _sizes(path: Path) -> list[int]:
    from safetensors import safe_open  # noqa: PLC0415

    with safe_open(path / "model.safetensors", framework="numpy") as file:
        return [int(np.prod(file.get_slice(name).get_shape())) for name in file.keys()]  # noqa: SIM118


def _peak_bytes() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
