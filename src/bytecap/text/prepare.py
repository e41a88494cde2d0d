"""Raw documents to the `tokens/` folder: tokenizer, token shards, held-out text, manifest.

In:   a TextConfig.
Out:  Tokens, saved as `manifest.json` beside the files it names.

Existing shards (`text.shards`) are used where they lie; then the manifest only points at them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bytecap.core.digest import digest_bytes, digest_of
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.files import read_json, write_bytes, write_json
from bytecap.core.progress import Progress
from bytecap.text.corpus import Corpus
from bytecap.text.shards import MAX_VOCAB, ShardWriter, TokenStream, find_shards
from bytecap.text.split import choose_validation, document_hash, refuse_shared
from bytecap.text.tokenizer import Tokenizer, load_tokenizer, read_tokenizer, train_tokenizer

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Where the text comes from and how it becomes tokens."""

    paths: tuple[str, ...] = ()
    """Files, folders or globs; none means the Python standard library's sources."""
    validation_paths: tuple[str, ...] = ()
    """Held-out text given apart; none means that documents of `paths` are held out by hash."""
    field: str = "text"
    """Key of the text in JSON lines."""
    strict: bool = False
    """Whether an unusable file is an error instead of skipped and counted."""
    validation_fraction: float = 0.05
    """Largest share of documents held out."""
    validation_bytes: int = 1_000_000
    """Most UTF-8 bytes held out."""
    tokenizer: str | None = None
    """An existing SentencePiece `.model`; none means one is trained on the training documents."""
    lossy_tokenizer: bool = False
    """Declares that the tokenizer changes the text by design, so that its byte count may differ from the raw text."""
    vocab_size: int = 1024
    """Pieces of the tokenizer to train."""
    tokenizer_sample_bytes: int = 8_000_000
    """Most UTF-8 bytes of training documents that the tokenizer is trained on."""
    shards: str | None = None
    """A folder of token shards in the Parameter Golf format; needs `tokenizer`, excludes `paths`."""
    shard_tokens: int = 100_000_000
    """Tokens in each shard written."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The product of this room. Paths are relative to the folder of the manifest unless absolute."""

    digest: str
    """Of everything below: what later products are made from."""
    corpus_digest: str
    """Of the documents and their split; scores compare only where it is equal."""
    corpus: str
    tokenizer: str
    tokenizer_digest: str
    vocab_size: int
    train_shards: tuple[str, ...]
    train_tokens: int
    validation_shards: tuple[str, ...]
    validation_tokens: int
    validation_text: str | None
    """JSON lines with the raw held-out documents, where they are at hand."""
    validation_bytes: int | None
    """UTF-8 bytes of the raw held-out documents."""
    validation_byte_shards: tuple[str, ...] = ()
    """Bytes of each validation token, where the shards came with such a sidecar."""
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)
    folder: Path = dataclasses.field(default=Path(), compare=False)

    def tokenizer_model(self) -> bytes:
        """Bytes of the SentencePiece model."""
        return read_tokenizer(self.folder / self.tokenizer)

    def train_stream(self) -> TokenStream:
        """The training tokens, ids checked against the vocabulary."""
        return TokenStream([self.folder / p for p in self.train_shards], vocab_size=self.vocab_size)

    def validation_stream(self) -> TokenStream:
        """The validation tokens, ids checked against the vocabulary."""
        return TokenStream([self.folder / p for p in self.validation_shards], vocab_size=self.vocab_size)

    def validation_byte_stream(self) -> TokenStream | None:
        """The bytes of each validation token, where the shards have such a sidecar."""
        if not self.validation_byte_shards:
            return None
        return TokenStream([self.folder / p for p in self.validation_byte_shards])

    def validation_documents(self) -> list[str] | None:
        """Raw held-out documents, or None where only tokens are at hand."""
        if self.validation_text is None:
            return None
        lines = (self.folder / self.validation_text).read_text("utf-8").split("\n")
        return [json.loads(line) for line in lines if line]


def encode_documents(config: TextConfig, model: bytes, folder: Path) -> tuple[list[Path], int]:
    """Every document of `config.paths` as validation shards in `folder`; also the UTF-8 bytes of the raw text."""
    tokenizer = load_tokenizer(model)
    writer = ShardWriter(folder, "val", config.shard_tokens)
    raw_bytes = 0
    for document in _corpus(config, config.paths).documents():
        writer.write([tokenizer.bos_id(), *tokenizer.encode(document)])
        raw_bytes += len(document.encode())
    writer.close()
    return writer.paths, raw_bytes


def load_tokens(folder: Path) -> Tokens:
    """The product saved in `folder`; DataError when it is missing or not one."""
    value = read_json(folder / MANIFEST)
    try:
        lists = {k: tuple(v) for k, v in value.items() if isinstance(v, list)}
        return Tokens(**{**value, **lists}, folder=folder)
    except (TypeError, AttributeError):
        raise DataError(f"{folder / MANIFEST} is of another version; delete {folder} and prepare again") from None


def prepare(config: TextConfig, folder: Path, progress: Progress) -> Tokens:
    """Make `folder` hold the tokens of `config`."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("fineweb_*.bin"):
        stale.unlink()  # an interrupted preparation
    value = _use_shards(config) if config.shards else _from_documents(config, folder, progress)
    contents = {k: v for k, v in value.items() if k not in ("corpus", "skipped")}
    tokens = Tokens(digest=digest_of(contents), folder=folder, **value)
    saved = {f.name: getattr(tokens, f.name) for f in dataclasses.fields(tokens) if f.name != "folder"}
    write_json(folder / MANIFEST, saved)
    return tokens


# ---- from documents ----


def _corpus(config: TextConfig, paths: tuple[str, ...]) -> Corpus:
    return Corpus(paths, config.field, config.strict, keep_space_mark=config.lossy_tokenizer)


def _from_documents(config: TextConfig, folder: Path, progress: Progress) -> dict[str, Any]:
    corpus = _corpus(config, config.paths)
    survey = _survey(config, corpus, progress)
    if config.tokenizer:
        model = read_tokenizer(Path(config.tokenizer))
    else:
        model = train_tokenizer(_sample(config, survey), config.vocab_size)
    tokenizer = load_tokenizer(model)
    if tokenizer.get_piece_size() > MAX_VOCAB:
        raise ConfigError(f"the tokenizer has {tokenizer.get_piece_size():,} pieces; shards hold at most {MAX_VOCAB:,}")
    write_bytes(folder / "tokenizer.model", model)

    train = ShardWriter(folder, "train", config.shard_tokens)
    done = 0
    for document in survey.train():
        train.write([tokenizer.bos_id(), *tokenizer.encode(document)])
        done += len(document)
        progress.update(done, survey.total_bytes, f"{train.tokens:,} training tokens")
    train.close()
    validation = ShardWriter(folder, "val", config.shard_tokens)
    lines = []
    for document in survey.validation():
        validation.write([tokenizer.bos_id(), *tokenizer.encode(document)])
        lines.append(json.dumps(document))
    validation.close()
    write_bytes(folder / "validation.jsonl", ("\n".join(lines) + "\n").encode())
    if not train.tokens:
        raise DataError("no document is left for training; give more text or lower text.validation_fraction")
    return {
        "corpus_digest": survey.digest(),
        "corpus": corpus.name,
        "tokenizer": "tokenizer.model",
        "tokenizer_digest": digest_bytes(model),
        "vocab_size": tokenizer.get_piece_size(),
        "train_shards": tuple(p.name for p in train.paths),
        "train_tokens": train.tokens,
        "validation_shards": tuple(p.name for p in validation.paths),
        "validation_tokens": validation.tokens,
        "validation_text": "validation.jsonl",
        "validation_bytes": survey.validation_bytes,
        "skipped": dict(corpus.skipped),
    }


@dataclass
class _Survey:
    """What one pass over the corpus found; both splits can be read again from it."""

    corpus: Corpus
    held_out: Corpus | None
    validation_hashes: set[int]
    total_bytes: int
    validation_bytes: int
    order: str

    def train(self) -> Iterator[str]:
        shared = []
        for document in self.corpus.documents():
            if document_hash(document) not in self.validation_hashes:
                yield document
            elif self.held_out is not None:
                shared.append(document)
        refuse_shared(shared)

    def validation(self) -> Iterator[str]:
        """Held-out documents, each content once."""
        left = set(self.validation_hashes)
        for document in (self.held_out or self.corpus).documents():
            key = document_hash(document)
            if key in left:
                left.discard(key)
                yield document

    def digest(self) -> str:
        return digest_of([self.order, sorted(self.validation_hashes)])


def _survey(config: TextConfig, corpus: Corpus, progress: Progress) -> _Survey:
    total, order = 0, hashlib.sha256()
    held_out = _corpus(config, config.validation_paths) if config.validation_paths else None

    def keys() -> Iterator[tuple[int, int]]:
        nonlocal total
        for document in corpus.documents():
            key, size = document_hash(document), len(document.encode())
            total += size
            order.update(key.to_bytes(8, "big"))
            yield key, size

    if held_out is None:
        hashes = choose_validation(keys(), fraction=config.validation_fraction, max_bytes=config.validation_bytes)
    else:
        hashes = {document_hash(document) for document in held_out.documents()}
        shared = [d for d in corpus.documents() if document_hash(d) in hashes]
        refuse_shared(shared)
        for _ in keys():
            pass
    survey = _Survey(corpus, held_out, hashes, total, 0, order.hexdigest())
    survey.validation_bytes = sum(len(document.encode()) for document in survey.validation())
    if not hashes:
        raise DataError(
            f"no document of {corpus.name} falls into the validation split; give more (or shorter) documents, raise "
            "text.validation_fraction, or name the held-out text with --set text.validation_paths"
        )
    progress.note(f"{total:,} bytes of text, {survey.validation_bytes:,} held out in {len(hashes):,} documents")
    for reason, count in corpus.skipped.items():
        progress.note(f"skipped {count:,} documents: {reason}")
    return survey


def _sample(config: TextConfig, survey: _Survey) -> Iterator[str]:
    """Training documents spread over the corpus, by another part of their hash, up to the sample size."""
    share = min(1.0, config.tokenizer_sample_bytes / max(survey.total_bytes, 1))
    for document in survey.train():
        if (document_hash(document) & 0xFFFFFFFF) < share * 2**32:
            yield document


# ---- existing shards ----


def _use_shards(config: TextConfig) -> dict[str, Any]:
    folder = Path(config.shards or "").resolve()
    if config.tokenizer is None:
        raise ConfigError("text.shards needs the tokenizer they were made with: --set text.tokenizer=PATH.model")
    if config.paths or config.validation_paths:
        raise ConfigError("text.shards and text.paths exclude each other; give one of them")
    model = read_tokenizer(Path(config.tokenizer))
    tokenizer = load_tokenizer(model, config.tokenizer)
    vocab_size = tokenizer.get_piece_size()
    found = {split: find_shards(folder, split) for split in ("train", "val", "val_bytes")}
    for split in ("train", "val"):
        if not found[split]:
            raise DataError(f"{folder} holds no *_{split}_NNNNNN.bin; correct text.shards", path=str(folder))
    train = TokenStream(found["train"], vocab_size=vocab_size)
    validation = TokenStream(found["val"], vocab_size=vocab_size)
    _check_tokenizer(tokenizer, validation, config.tokenizer)
    corpus_digest = _check_disjoint(tokenizer, train, validation)
    return {
        "corpus_digest": corpus_digest,
        "corpus": str(folder),
        "tokenizer": str(Path(config.tokenizer).resolve()),
        "tokenizer_digest": digest_bytes(model),
        "vocab_size": vocab_size,
        "train_shards": tuple(map(str, found["train"])),
        "train_tokens": len(train),
        "validation_shards": tuple(map(str, found["val"])),
        "validation_tokens": len(validation),
        "validation_text": None,
        "validation_bytes": None,
        "validation_byte_shards": tuple(map(str, found["val_bytes"])),
    }


def _check_tokenizer(tokenizer: Tokenizer, stream: TokenStream, name: str, documents: int = 20) -> None:
    """Decoding and encoding whole documents gives the same ids when shards and tokenizer belong together."""
    differing = checked = 0
    pending: list[int] | None = None  # held back one step: the stream's last document may be cut
    for ids in stream.documents(tokenizer.bos_id()):
        if pending is not None:
            checked += 1
            differing += tokenizer.encode(tokenizer.decode(pending)) != pending
        if checked == documents:
            break
        pending = [int(i) for i in ids]
    if checked and differing * 2 > checked:
        raise DataError(
            f"{differing} of {checked} validation documents change their ids when decoded and encoded again with "
            f"{name}; it is not the tokenizer these shards were made with, correct text.tokenizer",
            differing=differing,
        )


def _check_disjoint(tokenizer: Tokenizer, train: TokenStream, validation: TokenStream) -> str:
    """Digest of both splits; DataError when a document stands in both."""
    bos = tokenizer.bos_id()
    held = {_ids_hash(ids) for ids in validation.documents(bos)}
    order = hashlib.sha256()
    shared = []
    for ids in train.documents(bos):
        key = _ids_hash(ids)
        order.update(key)
        if key in held:
            shared.append(tokenizer.decode([int(i) for i in ids[:40]]))
    refuse_shared(shared)
    return digest_of([order.hexdigest(), sorted(key.hex() for key in held)])


def _ids_hash(ids: np.ndarray[Any, Any]) -> bytes:
    return hashlib.sha256(ids.astype("<u2").tobytes()).digest()[:8]
