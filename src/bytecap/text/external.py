"""Token shards that exist already, used where they lie.

In:   a folder in the Parameter Golf format and the tokenizer it was made with.
Out:  the entries of a manifest that point at them, after four checks: ids within the vocabulary, the right tokenizer,
      bytes that can be counted, no document in both splits.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bytecap.core.digest import digest_json
from bytecap.core.errors import ConfigError, DataError
from bytecap.text.byte_check import check_table
from bytecap.text.byte_counts import build_table
from bytecap.text.config import TextConfig
from bytecap.text.shards import StreamSlice, TokenStream, find_shards
from bytecap.text.split import refuse_shared
from bytecap.text.tokenizer import Tokenizer

_CHECKED_TOKENS = 1 << 20
"""Validation tokens whose bytes are checked before any work; a score checks all of them."""


def use_shards(config: TextConfig, accept: Callable[[Tokenizer], None]) -> dict[str, Any]:
    """Manifest entries of `config.shards`; DataError when a check fails."""
    folder = Path(os.path.realpath(config.shards or ""))  # a circle of links is no error here
    if config.tokenizer is None:
        raise ConfigError("text.shards needs the tokenizer they were made with: --set text.tokenizer=PATH.model")
    if config.paths or config.validation_paths:
        raise ConfigError("text.shards and text.paths exclude each other; give one of them")
    tokenizer = Tokenizer.read(Path(config.tokenizer))
    accept(tokenizer)
    vocab_size = tokenizer.vocab_size
    found = {split: find_shards(folder, split) for split in ("train", "val", "val_bytes")}
    for split in ("train", "val"):
        if not found[split]:
            raise DataError(f"{folder} holds no *_{split}_NNNNNN.bin; correct text.shards", path=str(folder))
    train = TokenStream(found["train"], vocab_size=vocab_size)
    validation = TokenStream(found["val"], vocab_size=vocab_size)
    _check_tokenizer(tokenizer, validation, config.tokenizer)
    if not found["val_bytes"]:
        begin = StreamSlice(validation, 0, min(len(validation), _CHECKED_TOKENS))
        check_table(build_table(tokenizer), tokenizer, begin, raw=None)
    corpus_digest = _check_disjoint(tokenizer, train, validation)
    return {
        "corpus_digest": corpus_digest,
        "corpus": str(folder),
        "tokenizer_path": os.path.realpath(config.tokenizer),
        "tokenizer_digest": tokenizer.digest,
        "vocab_size": vocab_size,
        "document_length": None,
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
    whole = int(stream.read(0, 1)[0]) == tokenizer.bos
    pending: list[int] | None = None  # held back one step: the stream's last document may be cut, and its first
    for ids in itertools.islice(stream.documents(tokenizer.bos), 0 if whole else 1, None):
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
    bos = tokenizer.bos
    held = {_ids_hash(ids) for ids in validation.documents(bos)}
    order = hashlib.sha256()
    shared = []
    for ids in train.documents(bos):
        key = _ids_hash(ids)
        order.update(key)
        if key in held:
            shared.append(tokenizer.decode([int(i) for i in ids[:40]]))
    refuse_shared(shared)
    return digest_json([order.hexdigest(), sorted(key.hex() for key in held)])


def _ids_hash(ids: np.ndarray[Any, Any]) -> bytes:
    return hashlib.sha256(ids.astype("<u2").tobytes()).digest()[:8]
