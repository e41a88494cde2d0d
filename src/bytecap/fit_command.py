"""A finished checkpoint under one cap or many, as the command line asks.

In:   a run folder or a .safetensors file, caps, perhaps text.
Out:  `.bcap` files, each with a `.fit.json` beside it; or predictions alone.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bytecap import recipe as recipes
from bytecap.artifact.load import loads
from bytecap.artifact.pack import Provenance
from bytecap.core.device import choose_device
from bytecap.core.digest import digest_bytes, digest_of
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.files import write_bytes, write_json
from bytecap.core.progress import Progress
from bytecap.core.units import bits_per_byte, bits_per_weight, parse_bytes
from bytecap.fitting import (
    Subject,
    calibration_of,
    comparison_windows,
    fit_facts,
    fitter_of,
    measure,
    open_checkpoint,
    provenance_of,
    refuse_useless,
)
from bytecap.folder import RECIPE, TOKENS
from bytecap.quant.landing import Fitter
from bytecap.quant.statistics import Calibration
from bytecap.recipe import Recipe
from bytecap.score.divergence import Divergence, divergence
from bytecap.text.config import TextConfig
from bytecap.text.prepare import encode_documents
from bytecap.text.shards import TokenStream
from bytecap.text.tokenizer import load_tokenizer, read_tokenizer
from bytecap.text.tokens import load_tokens
from bytecap.train.checkpoint import CHECKPOINT

COMPARED_TOKENS = 16_384
"""Positions on which the fitted model is compared with the original."""
HELD_OUT = 10
"""One part in ten of a given text is kept for the comparison."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for."""

    checkpoint: Path
    caps: tuple[int, ...]
    out: Path | None = None
    text: tuple[str, ...] = ()
    tokenizer: Path | None = None
    settings: tuple[str, ...] = ()
    device: str = "auto"


def request_of(
    checkpoint: Path,
    caps: list[str],
    *,
    out: Path | None,
    text: list[str],
    tokenizer: Path | None,
    reserve: str | None,
    settings: list[str],
    device: str,
) -> Request:
    """A request from the words of a command line; ConfigError when they make no sense together."""
    sizes = tuple(parse_bytes(cap) for cap in caps)
    kept = 0 if reserve is None else parse_bytes(reserve)
    if not sizes:
        raise ConfigError("how large may the file be? Give --cap, such as --cap 16MB, or --caps 100kB,200kB,400kB")
    for size in sizes:
        if size <= kept:
            raise ConfigError(f"a cap of {size:,} bytes with {kept:,} reserved leaves nothing; raise --cap")
    return Request(
        checkpoint=checkpoint, caps=tuple(size - kept for size in sizes), out=out, text=tuple(text),
        tokenizer=tokenizer, settings=tuple(settings), device=device,
    )  # fmt: skip


@dataclass(frozen=True)
class _Material:
    """Everything that the fits share."""

    recipe: Recipe
    subject: Subject
    calibration: Calibration | None
    fitter: Fitter
    compare: tuple[TokenStream, int] | None
    """Text that was not measured, and its BOS."""
    bytes_per_token: float | None


def fit_checkpoint(request: Request, progress: Progress) -> list[dict[str, Any]]:
    """One file for each cap. Returns what `.fit.json` says of each; BudgetError when a cap cannot be met usefully."""
    written = []
    with _material(request, progress) as material:
        for cap in request.caps:
            refuse_useless(material.fitter, material.calibration, cap, progress)
        for cap in request.caps:
            begin = time.perf_counter()
            landed = material.fitter.land(cap, progress)
            path = _path(request, cap)
            found = _compared(material, landed.data)
            facts = {
                "file": str(path),
                **fit_facts(landed, cap),
                "bits_per_weight": bits_per_weight(len(landed.data), landed.model.weights),
                "divergence": None if found is None else found.to_json(),
                "bits_per_byte": _bits(material, found),
                "seconds": time.perf_counter() - begin,
            }
            write_bytes(path, landed.data)
            write_json(path.with_suffix(".fit.json"), facts)
            written.append(facts)
    return written


def predict_fit(request: Request, progress: Progress) -> list[dict[str, Any]]:
    """Size and loss that each cap would give, without rounding."""
    rows = []
    with _material(request, progress) as material:
        for cap in request.caps:
            aimed = material.fitter.aim(cap, progress)
            known = material.calibration is not None
            row = {"cap_bytes": cap, "predicted_bytes": aimed.size_bytes, "kappa": aimed.kappa}
            rows.append({**row, "predicted_increase_nats": aimed.loss if known else None})
    return rows


@contextmanager
def _material(request: Request, progress: Progress) -> Iterator[_Material]:
    folder = request.checkpoint if request.checkpoint.is_dir() else request.checkpoint.parent
    ours = (folder / RECIPE).is_file() and (folder / TOKENS).is_dir()
    if request.checkpoint.is_dir() and not ours:
        raise DataError(f"{folder} is not a run folder: it has no {RECIPE} and {TOKENS}; give a .safetensors file")
    path = folder / CHECKPOINT if request.checkpoint.is_dir() else request.checkpoint
    subject = open_checkpoint(path, finished=True)
    base = recipes.load(folder / RECIPE) if ours else recipes.resolve("baseline", track="laptop")
    recipe = recipes.overridden(base, list(request.settings))
    with tempfile.TemporaryDirectory() as temporary:
        yield _prepared(request, recipe, subject, folder if ours else None, Path(temporary), progress)


def _prepared(
    request: Request, recipe: Recipe, subject: Subject, folder: Path | None, temporary: Path, progress: Progress
) -> _Material:
    device, tokens = choose_device(request.device), None if folder is None else load_tokens(folder / TOKENS)
    if request.tokenizer is not None:
        tokenizer = read_tokenizer(request.tokenizer)
    else:
        tokenizer = b"" if tokens is None else tokens.tokenizer_model()
    calibration: Calibration | None = None
    compare: tuple[TokenStream, int] | None = None
    rate, corpus = None, digest_of("")
    if request.text:
        stream, rate = _encoded(request, subject, tokenizer, temporary, progress)
        bos, cut = load_tokenizer(tokenizer).bos_id(), len(stream) - len(stream) // HELD_OUT
        compare = _Slice(stream, cut, len(stream)), bos
        assert subject.model is not None
        calibration = measure(
            subject.model.to(device), _Slice(stream, 0, cut), bos, tokens=recipe.quant.calibration_tokens,
            context=recipe.train.context, seed=recipe.run.seed, digest=subject.digest, progress=progress,
        )  # fmt: skip
    elif tokens is not None and folder is not None and subject.model is not None:
        calibration = calibration_of(recipe, tokens, folder, subject, device, progress)
        compare = tokens.validation_stream(), load_tokenizer(tokenizer).bos_id()
        corpus = tokens.corpus_digest
        if tokens.validation_bytes is not None:
            rate = tokens.validation_bytes / tokens.validation_tokens
    else:
        progress.note(
            "no text to measure on: one step serves all matrices; give --text and --tokenizer for a better fit"
        )
    if tokenizer:
        about = provenance_of(recipe, tokenizer, corpus, subject.digest)
    else:
        about = Provenance(
            recipe_digest=recipe.digest, corpus_digest=corpus, checkpoint_digest=subject.digest,
            tokenizer_digest=digest_bytes(b""), lossless=False, context=recipe.train.context,
        )  # fmt: skip
    fitter = fitter_of(subject, calibration, recipe.quant, recipe.artifact, tokenizer, about)
    return _Material(recipe, subject, calibration, fitter, compare, rate)


def _encoded(
    request: Request, subject: Subject, tokenizer: bytes, temporary: Path, progress: Progress
) -> tuple[TokenStream, float]:
    """The given text as tokens, and its bytes for each."""
    if subject.model is None:
        raise ConfigError(
            f"{request.checkpoint} holds weights without a model, so --text cannot be run through it; leave --text "
            "out, or measure and fit from Python with bytecap.fit(model, batches, loss=..., cap_bytes=...)"
        )
    if not tokenizer:
        raise ConfigError("--text needs the tokenizer of the model: --tokenizer PATH.model")
    pieces = load_tokenizer(tokenizer).get_piece_size()
    if pieces != subject.model.spec.vocab_size:
        raise DataError(
            f"the tokenizer has {pieces:,} pieces, the model a vocabulary of {subject.model.spec.vocab_size:,}; give "
            "the tokenizer that the model was trained with"
        )
    config = TextConfig(paths=request.text)
    shards, raw_bytes = encode_documents(config, tokenizer, temporary, progress)
    stream = TokenStream(shards)
    return stream, raw_bytes / max(len(stream), 1)


class _Slice(TokenStream):
    """A part of a stream, seen as a stream."""

    def __init__(self, whole: TokenStream, begin: int, end: int) -> None:
        self._whole, self._begin, self._end = whole, begin, end

    def __len__(self) -> int:
        return self._end - self._begin

    def read(self, start: int, length: int) -> Any:
        """As of the whole."""
        return self._whole.read(self._begin + start, min(length, len(self) - start))


def _compared(material: _Material, data: bytes) -> Divergence | None:
    if material.compare is None or material.subject.model is None:
        return None
    stream, bos = material.compare
    context, device = material.recipe.train.context, torch.device("cpu")
    windows = comparison_windows(stream, tokens=COMPARED_TOKENS, context=context, device=device)
    return divergence(material.subject.model.to(device).eval(), loads(data).model(), windows, bos)


def _bits(material: _Material, found: Divergence | None) -> dict[str, float] | None:
    """The divergence again, in bits per byte of text, where the bytes of a token are known."""
    if found is None or material.bytes_per_token is None:
        return None
    names = ("kl", "kl_interval", "loss_before", "loss_after", "increase_interval")
    values = dataclasses.asdict(found)
    return {name: bits_per_byte(values[name], 1) / material.bytes_per_token for name in names}


def _path(request: Request, cap: int) -> Path:
    """The file asked for; with several caps, one for each in that folder."""
    if request.out is not None and len(request.caps) == 1:
        return request.out
    folder = request.out or (request.checkpoint if request.checkpoint.is_dir() else request.checkpoint.parent)
    return folder / f"model-{cap}.bcap"
