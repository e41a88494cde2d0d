"""Where text comes from and how it becomes tokens: the settings of the prepare stage."""

from __future__ import annotations

from dataclasses import dataclass

READING = ("text.field", "text.strict", "text.document_length", "text.lossy_tokenizer")
"""Settings of how a text is read, whatever it is read for."""


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
    document_length: int | None = None
    """Characters after which a text file is cut, at a line end, into several documents. None: 1,048,576, or 16,384
    where otherwise every document would be too long to be held out; the record says which."""
    validation_fraction: float = 0.05
    """Largest share of the text held out."""
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
