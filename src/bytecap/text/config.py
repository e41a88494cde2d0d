"""Where text comes from and how it becomes tokens: the settings of the prepare stage."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from bytecap.core.errors import ConfigError
from bytecap.core.settings import bounds, check_bounds
from bytecap.text.case_transform import MARKS, Transform
from bytecap.text.shards import MAX_SHARD_TOKENS, MAX_VOCAB

READING = ("text.field", "text.strict", "text.document_length", "text.lossy_tokenizer")
"""Settings of how a text is read, whatever it is read for."""

SPECIAL_PIECES, BYTE_PIECES = 4, 256
"""Padding, BOS, EOS and unknown; one for each byte."""
MIN_VOCAB = SPECIAL_PIECES + BYTE_PIECES + 1
"""Pieces of the smallest tokenizer that is trained here: the special ones, all bytes, and one of text."""
MIN_SHARD_TOKENS = 1_000
"""Fewer would make a folder of many thousand files."""
MAX_TEXT_BYTES = 1 << 44


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
    """An unusable file is an error instead of skipped and counted."""
    document_length: int | None = dataclasses.field(default=None, metadata=bounds(1, MAX_TEXT_BYTES))
    """Characters after which a text file is cut, at a line end, into several documents. None: 1,048,576, or 16,384
    where otherwise every document would be too long to be held out, or a part in 32 of a text that is one document
    alone (at least 256); the record says which."""
    validation_fraction: float = dataclasses.field(default=0.05, metadata=bounds(0.0, 1.0))
    """Largest share of the text held out."""
    validation_bytes: int = dataclasses.field(default=1_000_000, metadata=bounds(1, MAX_TEXT_BYTES))
    """Most UTF-8 bytes held out."""
    tokenizer: str | None = None
    """An existing SentencePiece `.model`; none means one is trained on the training documents."""
    lossy_tokenizer: bool = False
    """Declares that the tokenizer changes the text by design, so that its byte count may differ from the raw text."""
    transform: Transform = "none"
    """What is done to text before it is cut into pieces, and undone behind them: "case" writes capitals as small
    letters with marks, without loss. It is for a tokenizer that is trained here; a given one carries its own."""
    vocab_size: int = dataclasses.field(default=1024, metadata=bounds(MIN_VOCAB, MAX_VOCAB))
    """Pieces of the tokenizer to train."""
    tokenizer_sample_bytes: int = dataclasses.field(default=8_000_000, metadata=bounds(1, MAX_TEXT_BYTES))
    """Most UTF-8 bytes of training documents that the tokenizer is trained on."""
    shards: str | None = None
    """A folder of token shards in the Parameter Golf format; needs `tokenizer`, excludes `paths`."""
    shard_tokens: int = dataclasses.field(default=100_000_000, metadata=bounds(MIN_SHARD_TOKENS, MAX_SHARD_TOKENS))
    """Tokens in each shard written."""

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers out of bounds."""
        check_bounds(self)
        for name in ("paths", "validation_paths"):
            if isinstance(value := getattr(self, name), str):
                raise ConfigError(f"text.{name} is the string {value[:80]!r}; it must be a tuple, ({value[:80]!r},)")
        if self.transform == "case" and self.vocab_size < MIN_VOCAB + len(MARKS):
            raise ConfigError(
                f"text.vocab_size is {self.vocab_size}; with text.transform = case it must be at least "
                f"{MIN_VOCAB + len(MARKS)}, because each mark has a piece"
            )
