"""What the fits of one command share: the checkpoint, what was measured, and text to compare on.

In:   a Request.
Out:  a FitInputs, ready for any number of caps.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytecap.artifact.pack import Provenance, pack
from bytecap.core.device import choose_device
from bytecap.core.digest import digest_bytes, digest_json
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.progress import Progress
from bytecap.fitting.job import build_fitter, build_provenance, load_or_measure_calibration
from bytecap.fitting.measure import make_adaptation, measure
from bytecap.fitting.size_search import Fitter, StartAdaptation
from bytecap.fitting.source import WeightSource, open_checkpoint
from bytecap.formats.tensor import QuantizedModel
from bytecap.published.scheme_fitter import SchemeFitter, needs_text
from bytecap.published.schemes import KEEP_SMALL
from bytecap.quant.statistics import Calibration
from bytecap.run import recipe as recipes
from bytecap.run.folder import RECIPE, TOKENS
from bytecap.run.recipe import Recipe
from bytecap.text.prepare import encode_documents
from bytecap.text.shards import TokenStream
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokens import Tokens, load_tokens
from bytecap.train.checkpoint import CHECKPOINT

HELD_OUT_SHARE = 10
"""One part in ten of a given text is kept for the comparison."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for."""

    checkpoint: Path
    caps: tuple[int, ...]
    """Empty for the run's own, or a scheme's own size."""
    reserve: int | None = None
    """Bytes of each cap that stay free; None for what the run's recipe says."""
    curve: bool = False
    """Several files in a folder, with the curve through them."""
    scheme: str | None = None
    """A published scheme; None for our own fit."""
    keep_small: int = KEEP_SMALL
    embedding_step: float = 1.0
    out: Path | None = None
    text: tuple[str, ...] = ()
    tokenizer: Path | None = None
    settings: tuple[str, ...] = ()
    device: str = "auto"


@dataclass(frozen=True)
class FitInputs:
    """Everything that the fits share."""

    recipe: Recipe
    caps: tuple[int, ...]
    """Most bytes of each file, the reserve taken off; empty for a scheme's own size."""
    reserve: int
    source: WeightSource
    calibration: Calibration | None
    fitter: Fitter | SchemeFitter
    compare: tuple[TokenStream, int] | None
    """Text that was not measured, and its BOS."""
    bytes_per_token: float | None
    start_adaptation: StartAdaptation | None
    """Begins a distillation, where one is asked for."""

    def with_reserve(self, cap: int | None) -> int | None:
        """The cap as it was asked for."""
        return None if cap is None else cap + self.reserve


@dataclass(frozen=True)
class _Texts:
    """What is measured on and what is compared on, as far as there is text."""

    measured: TokenStream | None
    compared: TokenStream | None
    bytes_per_token: float | None
    corpus_digest: str


@contextmanager
def open_inputs(request: Request, progress: Progress) -> Iterator[FitInputs]:
    """Open, encode, measure; tokens of a given text live as long as the material."""
    folder = request.checkpoint if request.checkpoint.is_dir() else request.checkpoint.parent
    ours = (folder / RECIPE).is_file() and (folder / TOKENS).is_dir()
    if request.checkpoint.is_dir() and not ours:
        raise DataError(f"{folder} is not a run folder: it has no {RECIPE} and {TOKENS}; give a .safetensors file")
    if request.scheme is not None:
        needs_text(request.scheme)  # an unknown name is refused before any work
    device = choose_device(request.device)
    base = recipes.load(folder / RECIPE) if ours else Recipe()
    rooms = _caps(request, base if ours else None)
    path = folder / CHECKPOINT if request.checkpoint.is_dir() else request.checkpoint
    tokens = load_tokens(folder / TOKENS) if ours else None
    source = open_checkpoint(path, finished=True, tokens=None if tokens is None else tokens.digest)
    known = [] if ours else ["score.stride=1"]  # no fit slides a window, so none is refused for it
    if not ours and source.context is not None:
        known.append(f"train.context={source.context}")
    if source.model is not None:
        source.model.to(device)
    recipe = recipes.with_overrides(base, [*known, *request.settings])
    with tempfile.TemporaryDirectory() as temporary:
        yield _prepared(request, recipe, rooms, source, tokens, folder if ours else None, Path(temporary), progress)


def _caps(request: Request, own: Recipe | None) -> tuple[tuple[int, ...], int]:
    """Bytes that each file may have, and the reserve taken off; ConfigError where that is nothing or not known."""
    sizes = request.caps
    if not sizes and request.scheme is None:
        if own is None or request.curve:
            raise ConfigError("how large may the file be? Give --cap, such as --cap 16MB, or --caps 100kB,200kB,400kB")
        sizes = (own.artifact.size,)
    kept = request.reserve if request.reserve is not None else 0 if own is None else own.artifact.reserve_bytes
    for size in sizes:
        if size < 1:
            raise ConfigError(f"a cap of {size} bytes leaves no room for a file; give a larger one, such as --cap 16MB")
        if size <= kept:
            raise ConfigError(f"a cap of {size:,} bytes with {kept:,} reserved leaves nothing; raise --cap")
    return tuple(dict.fromkeys(size - kept for size in sizes)), kept if sizes else 0


def _prepared(
    request: Request, recipe: Recipe, rooms: tuple[tuple[int, ...], int], source: WeightSource, tokens: Tokens | None,
    folder: Path | None, temporary: Path, progress: Progress,
) -> FitInputs:  # fmt: skip
    if request.tokenizer is not None:
        tokenizer: Tokenizer | None = Tokenizer.read(request.tokenizer)
        if source.model is None:
            raise ConfigError("--tokenizer goes with a model of ours; these are weights without one, leave it out")
        _refuse_vocabulary(source, tokenizer)
    else:
        tokenizer = None if tokens is None else tokens.tokenizer
    texts = _texts(request, recipe, source, tokens, tokenizer, temporary, progress)
    wanted = request.scheme is None or needs_text(request.scheme)
    calibration = _measured(request, recipe, source, tokens, tokenizer, texts, folder, progress) if wanted else None
    if request.scheme is None and calibration is None:
        progress.note(f"nothing is measured, so one step serves all matrices: {_why_unmeasured(recipe, source)}")
    about = _provenance(recipe, tokenizer, texts.corpus_digest, source.digest, known=folder is not None)
    compare = None
    if texts.compared is not None and source.model is not None and tokenizer is not None:
        compare = texts.compared, tokenizer.bos
    fitter = _fitter(request, recipe, source, calibration, tokenizer, about)
    start_adaptation = _start_adaptation(recipe, source, tokenizer, texts)
    return FitInputs(recipe, *rooms, source, calibration, fitter, compare, texts.bytes_per_token, start_adaptation)


def _start_adaptation(
    recipe: Recipe, source: WeightSource, tokenizer: Tokenizer | None, texts: _Texts
) -> StartAdaptation | None:
    if recipe.quant.distill_steps == 0:
        return None
    if texts.measured is None or source.model is None or tokenizer is None:
        raise ConfigError(
            "quant.distill_steps needs the model and text to train on: fit a run folder, or a checkpoint of ours with "
            "--text and --tokenizer"
        )
    return make_adaptation(
        source.model, texts.measured, tokenizer.bos, recipe.quant,
        context=recipe.train.context, seed=recipe.run.seed,
    )  # fmt: skip


def _texts(
    request: Request, recipe: Recipe, source: WeightSource, tokens: Tokens | None, tokenizer: Tokenizer | None,
    temporary: Path, progress: Progress,
) -> _Texts:  # fmt: skip
    if request.text:
        stream, rate = _encoded(request, recipe, source, tokenizer, temporary, progress)
        cut = len(stream) - len(stream) // HELD_OUT_SHARE
        return _Texts(_Slice(stream, 0, cut), _Slice(stream, cut, len(stream)), rate, digest_json(""))
    if tokens is None or source.model is None:
        return _Texts(None, None, None, digest_json(""))
    _refuse_vocabulary(source, tokenizer)
    known = tokens.validation_bytes
    rate_or_none = None if known is None else known / tokens.validation_tokens
    return _Texts(tokens.train_stream(), tokens.validation_stream(), rate_or_none, tokens.corpus_digest)


def _measured(
    request: Request, recipe: Recipe, source: WeightSource, tokens: Tokens | None, tokenizer: Tokenizer | None,
    texts: _Texts, folder: Path | None, progress: Progress,
) -> Calibration | None:  # fmt: skip
    """Of the run on its own text, kept in its folder; of a given text, for this command."""
    if texts.measured is None or source.model is None or tokenizer is None or recipe.quant.calibration_tokens == 0:
        return None
    if not request.text and folder is not None and tokens is not None:
        return load_or_measure_calibration(recipe, tokens, folder, source, progress)
    found = measure(
        source.model, texts.measured, tokenizer.bos, recipe.quant,
        context=recipe.train.context, seed=recipe.run.seed, digest=source.digest, progress=progress,
    )  # fmt: skip
    if found.loss > (guessing := math.log(source.model.spec.vocab_size)):
        progress.note(
            f"before any fitting the model loses {found.loss:.2f} nats per token on this text, more than guessing "
            f"({guessing:.2f}): is it the model's language, and the tokenizer it was trained with?"
        )
    return found


def _why_unmeasured(recipe: Recipe, source: WeightSource) -> str:
    if source.model is None:
        return "these are weights without their model; from Python, bytecap.fit(model, batches, ...) measures any model"
    if recipe.quant.calibration_tokens == 0:
        return "quant.calibration_tokens is 0"
    return "there is no text; give --text and --tokenizer"


def _provenance(
    recipe: Recipe, tokenizer: Tokenizer | None, corpus: str, checkpoint: str, *, known: bool
) -> Provenance:
    """A checkpoint outside its run folder was made by a recipe that nobody knows."""
    if tokenizer is not None:
        about = build_provenance(recipe, tokenizer, corpus, checkpoint)
    else:
        about = Provenance(
            recipe_digest=recipe.digest, corpus_digest=corpus, checkpoint_digest=checkpoint,
            tokenizer_digest=digest_bytes(b""), lossless=False, context=recipe.train.context,
        )  # fmt: skip
    return about if known else dataclasses.replace(about, recipe_digest="")


def _fitter(
    request: Request, recipe: Recipe, source: WeightSource, calibration: Calibration | None,
    tokenizer: Tokenizer | None, about: Provenance,
) -> Fitter | SchemeFitter:  # fmt: skip
    if request.scheme is None:
        return build_fitter(source, calibration, recipe.quant, recipe.artifact, tokenizer, about)

    def packed(model: QuantizedModel) -> bytes:
        return pack(source.spec, model, b"" if tokenizer is None else tokenizer.model, about, recipe.artifact)

    return SchemeFitter(
        request.scheme, source.weights, source.shapes, calibration, source.digest, packed,
        keep_small=request.keep_small, embedding_step=request.embedding_step,
    )  # fmt: skip


def _encoded(
    request: Request,
    recipe: Recipe,
    source: WeightSource,
    tokenizer: Tokenizer | None,
    temporary: Path,
    progress: Progress,
) -> tuple[TokenStream, float]:
    """The given text as tokens, and its bytes for each."""
    if source.model is None:
        raise ConfigError(
            f"{request.checkpoint} holds weights without a model, so --text cannot be run through it; leave --text "
            "out, or measure and fit from Python with bytecap.fit(model, batches, loss=..., cap_bytes=...)"
        )
    if tokenizer is None:
        raise ConfigError("--text needs the tokenizer of the model: --tokenizer PATH.model")
    _refuse_vocabulary(source, tokenizer)
    config = dataclasses.replace(recipe.text, paths=request.text)
    shards, raw_bytes = encode_documents(config, tokenizer, temporary, progress)
    stream = TokenStream(shards)
    return stream, raw_bytes / max(len(stream), 1)


def _refuse_vocabulary(source: WeightSource, tokenizer: Tokenizer | None) -> None:
    if source.model is not None and tokenizer is not None and tokenizer.vocab_size != source.model.spec.vocab_size:
        raise DataError(
            f"the tokenizer has {tokenizer.vocab_size:,} pieces, the model a vocabulary of "
            f"{source.model.spec.vocab_size:,}; give the tokenizer that the model was trained with"
        )


class _Slice(TokenStream):
    """A part of a stream, seen as a stream."""

    def __init__(self, whole: TokenStream, begin: int, end: int) -> None:
        self._whole, self._begin, self._end = whole, begin, end

    def __len__(self) -> int:
        return self._end - self._begin

    def read(self, start: int, length: int) -> Any:
        """As of the whole."""
        return self._whole.read(self._begin + start, min(length, len(self) - start))
