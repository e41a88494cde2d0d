"""What the fits of one command share: the checkpoint, what was measured, text to compare on.

In:   a FitRequest.
Out:  FitInputs: one job and its budgets.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bytecap.commands.common import is_model_folder
from bytecap.convert.job import convert
from bytecap.core.budget import FileBudget
from bytecap.core.device import choose_device
from bytecap.core.digest import digest_json
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.progress import Progress
from bytecap.fitting.job import Container, FitJob, build_job, refuse_small_caps
from bytecap.fitting.measure import CalibrationText, make_adaptation, measure, note_worse_than_guessing
from bytecap.fitting.report import HELD_OUT_SHARE, Comparison
from bytecap.fitting.source import WeightSource, open_checkpoint
from bytecap.published.scheme_fitter import build_scheme_job, needs_text
from bytecap.published.scheme_plan import SchemeOptions
from bytecap.quant.statistics import Calibration
from bytecap.run import recipe as recipes
from bytecap.run.folder import RECIPE, TOKENS
from bytecap.run.job import build_provenance, checkpoint_digests, load_or_measure_calibration, run_comparison, run_text
from bytecap.run.recipe import Recipe
from bytecap.text.prepare import encode_documents
from bytecap.text.shards import StreamSlice, TokenStream
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokens import Tokens, load_tokens
from bytecap.train.checkpoint import CHECKPOINT


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """A fit as the command line requests it."""

    checkpoint: Path
    caps: tuple[int, ...]
    """Bytes of each file; empty for the run's own cap, or a scheme's own size."""
    reserve: int | None = None
    """Bytes of each cap that stay free; None for what the run's recipe says."""
    curve: bool = False
    """Several files in a folder, with the curve through them."""
    scheme: SchemeOptions | None = None
    """A published scheme; None for our own fit."""
    out: Path | None = None
    text: tuple[str, ...] = ()
    tokenizer: Path | None = None
    settings: tuple[str, ...] = ()
    device: str = "auto"
    trust_code: bool = False
    """Python code that a Hugging Face folder brings may run."""
    dequantize: bool = False
    """Weights that are quantized already are fitted as the numbers they stand for."""

    @property
    def folder(self) -> Path:
        """The folder of the checkpoint."""
        return self.checkpoint if self.checkpoint.is_dir() else self.checkpoint.parent


@dataclass(frozen=True)
class FitInputs:
    """Everything that the fits of a command share."""

    job: FitJob
    budgets: tuple[FileBudget, ...]
    """Empty for a scheme's own size."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What each of their reports says of the model, in addition to what any fit reports."""


@dataclass(frozen=True)
class _Opened:
    """The checkpoint with whatever lies around it."""

    request: FitRequest
    recipe: Recipe
    source: WeightSource
    tokens: Tokens | None
    """Those of the run folder, if it lies in one."""
    tokenizer: Tokenizer | None
    progress: Progress


@dataclass(frozen=True)
class _Texts:
    """Text to measure on and to compare on, as far as there is any."""

    measured: CalibrationText | None = None
    compared: Comparison | None = None
    corpus_digest: str = digest_json("")


@contextmanager
def open_inputs(request: FitRequest, progress: Progress) -> Iterator[FitInputs]:
    """Open, encode and measure; the tokens of a given text live as long as the inputs."""
    with _dequantized(request) as readable, _opened_inputs(readable, progress) as inputs:
        yield inputs


@contextmanager
def _dequantized(request: FitRequest) -> Iterator[FitRequest]:
    """The request of a checkpoint whose weights are floats: as it is, or of a copy that lives as long as the inputs."""
    if not request.dequantize:
        yield request
        return
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "dequantized.safetensors"
        if is_model_folder(request.checkpoint):
            from bytecap.huggingface.folder import copy_dequantized

            copy = copy_dequantized(request.checkpoint, Path(temporary))
        else:
            convert(request.checkpoint, copy, dequantize=True)
        yield dataclasses.replace(request, checkpoint=copy)


@contextmanager
def _opened_inputs(request: FitRequest, progress: Progress) -> Iterator[FitInputs]:
    ours = (request.folder / RECIPE).is_file() and (request.folder / TOKENS).is_dir()
    if is_model_folder(request.checkpoint):
        from bytecap.commands.fit_huggingface import open_folder_inputs

        yield open_folder_inputs(request, progress)
        return
    if request.checkpoint.is_dir() and not ours:
        raise DataError(
            f"{request.folder} is not a run folder: it has no {RECIPE} and {TOKENS}; nor is it one of Hugging Face: "
            "it has no config.json. Give one of these, or a .safetensors file"
        )
    if request.scheme is not None:
        needs_text(request.scheme.name)  # an unknown name is refused before any work
    device = choose_device(request.device)
    own = recipes.load(request.folder / RECIPE) if ours else None
    budgets = make_budgets(request, own)
    tokens = load_tokens(request.folder / TOKENS) if ours else None
    path = request.folder / CHECKPOINT if request.checkpoint.is_dir() else request.checkpoint
    made_from = None if own is None or tokens is None else checkpoint_digests(own, tokens)
    source = open_checkpoint(path, finished=True, tokens=None if tokens is None else tokens.digest, made_from=made_from)
    if source.model is not None:
        source.model.to(device)
    known = [] if ours else ["score.stride=1"]  # no fit slides a window, so none is refused for it
    if not ours and source.context is not None:
        known.append(f"train.context={source.context}")
    recipe = recipes.with_overrides(own or Recipe(), [*known, *request.settings])
    opened = _Opened(request, recipe, source, tokens, _tokenizer(request, source, tokens), progress)
    with tempfile.TemporaryDirectory() as temporary:
        yield FitInputs(_job(opened, budgets, Path(temporary)), budgets)


def make_budgets(request: FitRequest, own: Recipe | None) -> tuple[FileBudget, ...]:
    """One budget for each cap; ConfigError where a cap is not known."""
    sizes = request.caps
    if not sizes and request.scheme is None:
        if own is None or request.curve:
            raise ConfigError("how large may the file be? Give --cap, such as --cap 16MB, or --caps 100kB,200kB,400kB")
        sizes = (own.artifact.budget.cap_bytes,)
    kept = request.reserve if request.reserve is not None else 0 if own is None else own.artifact.reserve_bytes
    return tuple(dict.fromkeys(FileBudget(size, kept) for size in sizes))


def _tokenizer(request: FitRequest, source: WeightSource, tokens: Tokens | None) -> Tokenizer | None:
    if request.tokenizer is None:
        return None if tokens is None else tokens.tokenizer
    tokenizer = Tokenizer.read(request.tokenizer)
    if source.model is None:
        raise ConfigError("--tokenizer goes with a model of ours; these are weights without one, leave it out")
    _refuse_vocabulary(source, tokenizer)
    return tokenizer


def _job(opened: _Opened, budgets: Sequence[FileBudget], temporary: Path) -> FitJob:
    request, recipe, source = opened.request, opened.recipe, opened.source
    texts = _texts(opened, temporary)
    wanted = request.scheme is None or needs_text(request.scheme.name)
    provenance = build_provenance(recipe, opened.tokenizer, texts.corpus_digest, source.digest)
    if opened.tokens is None:  # a checkpoint outside its run folder was made by a recipe that nobody knows
        provenance = dataclasses.replace(provenance, recipe_digest="")
    container = Container(provenance, recipe.artifact, opened.tokenizer)
    if request.scheme is None:
        refuse_small_caps(source, recipe.quant, container, budgets)
    else:
        container.refuse_impossible(source.spec, budgets)
    calibration = _calibration(opened, texts) if wanted else None
    if request.scheme is not None:
        return build_scheme_job(source, calibration, request.scheme, container, texts.compared)
    if calibration is None:
        opened.progress.note(
            "nothing is measured, so the steps of each matrix follow the size of its own weights: "
            f"{_why_unmeasured(recipe, source)}"
        )
    adaptation = None
    if texts.measured is not None and source.model is not None:
        adaptation = make_adaptation(source.model, texts.measured, recipe.quant)
    elif recipe.quant.distill_steps:
        raise ConfigError(
            "quant.distill_steps needs the model and text to train on: fit a run folder, or a checkpoint of ours "
            "with --text and --tokenizer"
        )
    return build_job(source, calibration, recipe.quant, container, adaptation, texts.compared)


def _texts(opened: _Opened, temporary: Path) -> _Texts:
    request, recipe, source, tokens = opened.request, opened.recipe, opened.source, opened.tokens
    if request.text:
        stream, tokenizer, bytes_per_token = _encoded(opened, temporary)
        cut = len(stream) - len(stream) // HELD_OUT_SHARE
        bos, context = tokenizer.bos, recipe.train.context
        measured = CalibrationText(StreamSlice(stream, 0, cut), bos, context, recipe.run.seed)
        compared = Comparison(StreamSlice(stream, cut, len(stream)), bos, context, bytes_per_token)
        return _Texts(measured, compared)
    if tokens is None or source.model is None:
        return _Texts()
    _refuse_vocabulary(source, tokens.tokenizer)
    return _Texts(run_text(recipe, tokens), run_comparison(recipe, tokens), tokens.corpus_digest)


def _calibration(opened: _Opened, texts: _Texts) -> Calibration | None:
    """Curvature: of a run on its own text, kept in its folder; of a given text, for this command."""
    recipe, source = opened.recipe, opened.source
    if texts.measured is None or source.model is None or recipe.quant.calibration_tokens == 0:
        return None
    if not opened.request.text and opened.tokens is not None:
        return load_or_measure_calibration(recipe, opened.tokens, opened.request.folder, source, opened.progress)
    found = measure(source.model, texts.measured, recipe.quant, source.digest, opened.progress)
    note_worse_than_guessing(found, source.model.spec.vocab_size, opened.progress)
    return found


def _why_unmeasured(recipe: Recipe, source: WeightSource) -> str:
    if source.model is None:
        return "these are weights without their model; from Python, bytecap.fit(model, batches, ...) measures any model"
    if recipe.quant.calibration_tokens == 0:
        return "quant.calibration_tokens is 0"
    return "there is no text; give --text and --tokenizer"


def _encoded(opened: _Opened, temporary: Path) -> tuple[TokenStream, Tokenizer, float]:
    """The given text as tokens, its tokenizer, and the bytes for each token."""
    request, source, tokenizer = opened.request, opened.source, opened.tokenizer
    if source.model is None:
        raise ConfigError(
            f"{request.checkpoint} holds weights without a model, so --text cannot be run through it; leave --text "
            "out, or measure and fit from Python with bytecap.fit(model, batches, loss=..., cap_bytes=...)"
        )
    if tokenizer is None:
        raise ConfigError("--text needs the tokenizer of the model: --tokenizer PATH.model")
    _refuse_vocabulary(source, tokenizer)
    config = dataclasses.replace(opened.recipe.text, paths=request.text)
    shards, raw_bytes = encode_documents(config, tokenizer, temporary, opened.progress)
    stream = TokenStream(shards)
    return stream, tokenizer, raw_bytes / max(len(stream), 1)


def _refuse_vocabulary(source: WeightSource, tokenizer: Tokenizer) -> None:
    pieces = tokenizer.vocab_size
    if source.model is not None and pieces != source.model.spec.vocab_size:
        raise DataError(
            f"the tokenizer has {pieces:,} pieces, the model a vocabulary of {source.model.spec.vocab_size:,}; give "
            "the tokenizer that the model was trained with"
        )
