"""Raw documents to the `tokens/` folder: tokenizer, token shards, held-out text, manifest.

In:   a TextConfig.
Out:  Tokens and the files they name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bytecap.core.digest import digest_json
from bytecap.core.errors import ConfigError, DataError
from bytecap.core.files import make_folder, write_bytes
from bytecap.core.progress import Progress
from bytecap.text.byte_check import check_table
from bytecap.text.byte_counts import build_table
from bytecap.text.config import TextConfig
from bytecap.text.corpus import Corpus
from bytecap.text.external import use_shards
from bytecap.text.shards import MAX_VOCAB, ShardWriter, TokenStream
from bytecap.text.survey import (
    Survey,
    note_skipped,
    open_corpus,
    refuse_no_training,
    survey_corpus,
    tokenizer_sample,
)
from bytecap.text.tokenizer import Tokenizer
from bytecap.text.tokenizer_training import train_tokenizer
from bytecap.text.tokens import Tokens, save_tokens, with_file_digests


def prepare(
    config: TextConfig, folder: Path, progress: Progress, accept: Callable[[Tokenizer], None] = lambda _: None
) -> Tokens:
    """Make `folder` hold the tokens of `config`. `accept` may refuse the tokenizer before the long part begins."""
    make_folder(folder)
    for stale in folder.glob("fineweb_*.bin"):
        stale.unlink()  # an interrupted preparation
    value = use_shards(config, accept) if config.shards else _from_documents(config, folder, progress, accept)
    tokens = with_file_digests(Tokens(digest=digest_contents(value), folder=folder, **value))
    save_tokens(tokens)
    if tokens.tokenizer.transform != config.transform:
        progress.note(
            f"text.transform = {config.transform} is for a tokenizer that is trained here; the given one carries its "
            f"own ({tokens.tokenizer.transform})"
        )
    return tokens


def changed_file(config: TextConfig, seconds: float) -> Path | None:
    """A file of the text that was changed after `seconds` of the file system's clock; None where there is none.

    Files that are gone do not count: the tokens made of them are there.
    """
    files = (file for path in (*config.paths, *config.validation_paths) for file in _files(path))
    return next((file for file in files if file.stat().st_mtime > seconds), None)


def _files(path: str) -> list[Path]:
    try:
        return Corpus((path,)).files()
    except DataError:
        return []


def digest_contents(value: dict[str, Any]) -> str:
    """Digest of what tokens are made of; that of version 0.1.0, so that text prepared again goes with old products."""
    first_names = {"tokenizer_path": "tokenizer"}
    described = ("corpus", "skipped")
    return digest_json({first_names.get(key, key): item for key, item in value.items() if key not in described})


def _from_documents(
    config: TextConfig, folder: Path, progress: Progress, accept: Callable[[Tokenizer], None]
) -> dict[str, Any]:
    survey = survey_corpus(config, progress)
    corpus = survey.corpus
    if config.tokenizer:
        tokenizer = Tokenizer.read(Path(config.tokenizer))
    else:
        tokenizer = train_tokenizer(tokenizer_sample(config, survey), config.vocab_size, config.transform)
    if tokenizer.vocab_size > MAX_VOCAB:
        raise ConfigError(f"the tokenizer has {tokenizer.vocab_size:,} pieces; shards hold at most {MAX_VOCAB:,}")
    accept(tokenizer)
    write_bytes(folder / "tokenizer.model", tokenizer.model)

    validation = _write_validation(config, survey, tokenizer, folder)
    train = ShardWriter(folder, "train", config.shard_tokens)
    done = 0
    for document in survey.train():
        train.write([tokenizer.bos, *tokenizer.encode(document)])
        done += len(document)
        progress.update(done, survey.total_bytes, f"{train.tokens:,} training tokens")
    train.close()
    refuse_no_training(train.tokens)
    return {
        "corpus_digest": survey.digest(),
        "corpus": corpus.name,
        "tokenizer_path": "tokenizer.model",
        "tokenizer_digest": tokenizer.digest,
        "vocab_size": tokenizer.vocab_size,
        "document_length": corpus.document_length,
        "train_shards": tuple(p.name for p in train.paths),
        "train_tokens": train.tokens,
        "validation_shards": tuple(p.name for p in validation.paths),
        "validation_tokens": validation.tokens,
        "validation_text": "validation.jsonl",
        "validation_bytes": survey.validation_bytes,
        "skipped": dict(corpus.skipped),
    }


def _write_validation(config: TextConfig, survey: Survey, tokenizer: Tokenizer, folder: Path) -> ShardWriter:
    """The held-out documents as tokens and as text, before the long part: the tokenizer must give them back."""
    writer = ShardWriter(folder, "val", config.shard_tokens)
    documents = list(survey.validation())
    for document in documents:
        writer.write([tokenizer.bos, *tokenizer.encode(document)])
    writer.close()
    stream = TokenStream(writer.paths, vocab_size=tokenizer.vocab_size)
    check_table(build_table(tokenizer), tokenizer, stream, raw=documents, lossy_declared=config.lossy_tokenizer)
    write_bytes(folder / "validation.jsonl", "".join(json.dumps(text) + "\n" for text in documents).encode())
    return writer


def encode_documents(
    config: TextConfig, tokenizer: Tokenizer, folder: Path, progress: Progress
) -> tuple[list[Path], int]:
    """Every document of `config.paths` as validation shards in `folder`; also the UTF-8 bytes of the raw text."""
    writer = ShardWriter(folder, "val", config.shard_tokens)
    raw_bytes = 0
    corpus = open_corpus(config, config.paths)
    for document in corpus.documents():
        writer.write([tokenizer.bos, *tokenizer.encode(document)])
        raw_bytes += len(document.encode())
    writer.close()
    note_skipped(corpus, progress)
    return writer.paths, raw_bytes
