"""What the fits of one command share: the checkpoint, what was measured, and text to compare on.

In:   a Request.
Out:  a Material, ready for any number of caps.
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

from bytecap import recipe as recipes
from bytecap.artifact.pack import Provenance, pack
from bytecap.core.device import choose_device
from bytecap.core.digest import digest_bytes, digest_of
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.progress import Progress
from bytecap.fitting import calibration_of, fitter_of, provenance_of
from bytecap.folder import RECIPE, TOKENS
from bytecap.grids.tensor import QuantizedModel
from bytecap.measuring import adapting_of, measure
from bytecap.quant.landing import Adapting, Fitter
from bytecap.quant.scheme_fit import SchemeFitter, needs_text
from bytecap.quant.schemes import KEEP_SMALL
from bytecap.quant.statistics import Calibration
from bytecap.recipe import Recipe
from bytecap.subject import Subject, open_checkpoint
from bytecap.text.prepare import encode_documents
from bytecap.text.shards import TokenStream
from bytecap.text.tokenizer import load_tokenizer, read_tokenizer
from bytecap.text.tokens import Tokens, load_tokens
from bytecap.train.checkpoint import CHECKPOINT

HELD_OUT = 10
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
class Material:
    """Everything that the fits share."""

    recipe: Recipe
    caps: tuple[int, ...]
    """Most bytes of each file, the reserve taken off; empty for a scheme's own size."""
    reserve: int
    subject: Subject
    calibration: Calibration | None
    fitter: Fitter | SchemeFitter
    compare: tuple[TokenStream, int] | None
    """Text that was not measured, and its BOS."""
    bytes_per_token: float | None
    adapting: Adapting | None
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
def material_of(request: Request, progress: Progress) -> Iterator[Material]:
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
    subject = open_checkpoint(path, finished=True, tokens=None if tokens is None else tokens.digest)
    known = [] if ours else ["score.stride=1"]  # no fit slides a window, so none is refused for it
    if not ours and subject.context is not None:
        known.append(f"train.context={subject.context}")
    if subject.model is not None:
        subject.model.to(device)
    recipe = recipes.overridden(base, [*known, *request.settings])
    with tempfile.TemporaryDirectory() as temporary:
        yield _prepared(request, recipe, rooms, subject, tokens, folder if ours else None, Path(temporary), progress)


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
    request: Request, recipe: Recipe, rooms: tuple[tuple[int, ...], int], subject: Subject, tokens: Tokens | None,
    folder: Path | None, temporary: Path, progress: Progress,
) -> Material:  # fmt: skip
    if request.tokenizer is not None:
        tokenizer = read_tokenizer(request.tokenizer)
        if subject.model is None:
            raise ConfigError("--tokenizer goes with a model of ours; these are weights without one, leave it out")
        _refuse_vocabulary(subject, tokenizer)
    else:
        tokenizer = b"" if tokens is None else tokens.tokenizer_model()
    texts = _texts(request, recipe, subject, tokens, tokenizer, temporary, progress)
    wanted = request.scheme is None or needs_text(request.scheme)
    calibration = _measured(request, recipe, subject, tokens, tokenizer, texts, folder, progress) if wanted else None
    if request.scheme is None and calibration is None:
        progress.note(f"nothing is measured, so one step serves all matrices: {_why_unmeasured(recipe, subject)}")
    about = _provenance(recipe, tokenizer, texts.corpus_digest, subject.digest, known=folder is not None)
    compare = None
    if texts.compared is not None and subject.model is not None:
        compare = texts.compared, load_tokenizer(tokenizer).bos_id()
    fitter = _fitter(request, recipe, subject, calibration, tokenizer, about)
    adapting = _adapting(recipe, subject, tokenizer, texts)
    return Material(recipe, *rooms, subject, calibration, fitter, compare, texts.bytes_per_token, adapting)


def _adapting(recipe: Recipe, subject: Subject, tokenizer: bytes, texts: _Texts) -> Adapting | None:
    if recipe.quant.distill_steps == 0:
        return None
    if texts.measured is None or subject.model is None:
        raise ConfigError(
            "quant.distill_steps needs the model and text to train on: fit a run folder, or a checkpoint of ours with "
            "--text and --tokenizer"
        )
    return adapting_of(
        subject.model, texts.measured, load_tokenizer(tokenizer).bos_id(), recipe.quant,
        context=recipe.train.context, seed=recipe.run.seed,
    )  # fmt: skip


def _texts(
    request: Request, recipe: Recipe, subject: Subject, tokens: Tokens | None, tokenizer: bytes, temporary: Path,
    progress: Progress,
) -> _Texts:  # fmt: skip
    if request.text:
        stream, rate = _encoded(request, recipe, subject, tokenizer, temporary, progress)
        cut = len(stream) - len(stream) // HELD_OUT
        return _Texts(_Slice(stream, 0, cut), _Slice(stream, cut, len(stream)), rate, digest_of(""))
    if tokens is None or subject.model is None:
        return _Texts(None, None, None, digest_of(""))
    _refuse_vocabulary(subject, tokenizer)
    known = tokens.validation_bytes
    rate_or_none = None if known is None else known / tokens.validation_tokens
    return _Texts(tokens.train_stream(), tokens.validation_stream(), rate_or_none, tokens.corpus_digest)


def _measured(
    request: Request, recipe: Recipe, subject: Subject, tokens: Tokens | None, tokenizer: bytes, texts: _Texts,
    folder: Path | None, progress: Progress,
) -> Calibration | None:  # fmt: skip
    """Of the run on its own text, kept in its folder; of a given text, for this command."""
    if texts.measured is None or subject.model is None or recipe.quant.calibration_tokens == 0:
        return None
    if not request.text and folder is not None and tokens is not None:
        return calibration_of(recipe, tokens, folder, subject, progress)
    found = measure(
        subject.model, texts.measured, load_tokenizer(tokenizer).bos_id(), recipe.quant,
        context=recipe.train.context, seed=recipe.run.seed, digest=subject.digest, progress=progress,
    )  # fmt: skip
    if found.loss > (guessing := math.log(subject.model.spec.vocab_size)):
        progress.note(
            f"before any fitting the model loses {found.loss:.2f} nats per token on this text, more than guessing "
            f"({guessing:.2f}): is it the model's language, and the tokenizer it was trained with?"
        )
    return found


def _why_unmeasured(recipe: Recipe, subject: Subject) -> str:
    if subject.model is None:
        return "these are weights without their model; from Python, bytecap.fit(model, batches, ...) measures any model"
    if recipe.quant.calibration_tokens == 0:
        return "quant.calibration_tokens is 0"
    return "there is no text; give --text and --tokenizer"


def _provenance(recipe: Recipe, tokenizer: bytes, corpus: str, checkpoint: str, *, known: bool) -> Provenance:
    """A checkpoint outside its run folder was made by a recipe that nobody knows."""
    if tokenizer:
        about = provenance_of(recipe, tokenizer, corpus, checkpoint)
    else:
        about = Provenance(
            recipe_digest=recipe.digest, corpus_digest=corpus, checkpoint_digest=checkpoint,
            tokenizer_digest=digest_bytes(b""), lossless=False, context=recipe.train.context,
        )  # fmt: skip
    return about if known else dataclasses.replace(about, recipe_digest="")


def _fitter(
    request: Request, recipe: Recipe, subject: Subject, calibration: Calibration | None, tokenizer: bytes,
    about: Provenance,
) -> Fitter | SchemeFitter:  # fmt: skip
    if request.scheme is None:
        return fitter_of(subject, calibration, recipe.quant, recipe.artifact, tokenizer, about)

    def packed(model: QuantizedModel) -> bytes:
        return pack(subject.spec, model, tokenizer, about, recipe.artifact)

    return SchemeFitter(
        request.scheme, subject.weights, subject.shapes, calibration, subject.digest, packed,
        keep_small=request.keep_small, embedding_step=request.embedding_step,
    )  # fmt: skip


def _encoded(
    request: Request, recipe: Recipe, subject: Subject, tokenizer: bytes, temporary: Path, progress: Progress
) -> tuple[TokenStream, float]:
    """The given text as tokens, and its bytes for each."""
    if subject.model is None:
        raise ConfigError(
            f"{request.checkpoint} holds weights without a model, so --text cannot be run through it; leave --text "
            "out, or measure and fit from Python with bytecap.fit(model, batches, loss=..., cap_bytes=...)"
        )
    if not tokenizer:
        raise ConfigError("--text needs the tokenizer of the model: --tokenizer PATH.model")
    _refuse_vocabulary(subject, tokenizer)
    config = dataclasses.replace(recipe.text, paths=request.text)
    shards, raw_bytes = encode_documents(config, tokenizer, temporary, progress)
    stream = TokenStream(shards)
    return stream, raw_bytes / max(len(stream), 1)


def _refuse_vocabulary(subject: Subject, tokenizer: bytes) -> None:
    pieces = load_tokenizer(tokenizer).get_piece_size()
    if subject.model is not None and pieces != subject.model.spec.vocab_size:
        raise DataError(
            f"the tokenizer has {pieces:,} pieces, the model a vocabulary of {subject.model.spec.vocab_size:,}; give "
            "the tokenizer that the model was trained with"
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
