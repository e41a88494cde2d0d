"""How many bytes of text each token stands for: the denominator of bits per byte.

In:   a Tokenizer.
Out:  a ByteTable, and a check of it against the decoded (and, where at hand, the raw) text.

A control, unknown or unused piece stands for 0 bytes, a byte piece for 1, any other for the UTF-8 length of its text
with each U+2581 read as one space. The contest's tokenizers strip a document, so there the space of a first word,
right after BOS, stands for nothing; a lossless tokenizer keeps it, and it counts.

Source:  openai/parameter-golf train_gpt.py. Differs: U+2581 inside a piece counts one byte, as the space it is, not
         the three of its UTF-8; the contest's tokenizers have no such piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import DataError
from bytecap.text.shards import TokenStream
from bytecap.text.tokenizer import Tokenizer

_CHUNK = 1 << 20


@dataclass(frozen=True)
class ByteTable:
    """Bytes per token id (V entries each); ids of padding rows beyond the tokenizer count 0 and are boundaries."""

    bytes_V: npt.NDArray[np.int64]
    leading_space_V: npt.NDArray[np.bool_]
    boundary_V: npt.NDArray[np.bool_]
    lossless: bool

    def count(self, previous_N: npt.NDArray[np.int64], target_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Bytes of each target, given the token before it."""
        counts: npt.NDArray[np.int64] = self.bytes_V[target_N]
        if not self.lossless:
            counts = counts - (self.leading_space_V[target_N] & self.boundary_V[previous_N])
        return counts


def build_table(tokenizer: Tokenizer, *, vocab_size: int | None = None) -> ByteTable:
    """The table of a tokenizer, padded to `vocab_size` ids."""
    size, pieces = max(vocab_size or 0, tokenizer.vocab_size), tokenizer.processor
    bytes_V = np.zeros(size, np.int64)
    leading_V = np.zeros(size, np.bool_)
    boundary_V = np.ones(size, np.bool_)
    for token in range(tokenizer.vocab_size):
        if pieces.is_control(token) or pieces.is_unknown(token) or pieces.is_unused(token):
            continue
        boundary_V[token] = False
        if pieces.is_byte(token):
            bytes_V[token] = 1
            continue
        piece = pieces.id_to_piece(token)
        leading_V[token] = piece.startswith("\u2581")
        bytes_V[token] = len(piece.replace("\u2581", " ").encode())
    return ByteTable(bytes_V, leading_V, boundary_V, tokenizer.lossless)


@dataclass(frozen=True)
class ByteCheck:
    """Bytes of the validation text, counted three ways.

    `decoded` is None where a sidecar gives the counts, `raw` where the raw text is not at hand.
    """

    counted: int
    decoded: int | None
    raw: int | None


def check_table(
    table: ByteTable, tokenizer: Tokenizer, stream: TokenStream, *, raw_bytes: int | None, lossy_declared: bool = False
) -> ByteCheck:
    """Compare the table's sum over the stream with the decoded and the raw length; DataError when they differ.

    A tokenizer that is declared lossy may differ from the raw text; the difference is in the result.
    """
    decoded = _decoded(tokenizer, stream)
    check = ByteCheck(_counted(table, stream), decoded, raw_bytes)
    if check.counted != decoded:
        error = 100.0 * (check.counted - decoded) / max(decoded, 1)
        raise DataError(
            f"the byte table counts {check.counted:,} bytes where the decoded validation text has {decoded:,} "
            f"({error:+.2f} %), so no score is given; worst tokens: {_worst(table, tokenizer, stream)}. Correct the "
            "tokenizer or the table",
            percent=error,
        )
    if raw_bytes is not None and check.counted != raw_bytes and not lossy_declared:
        error = 100.0 * (check.counted - raw_bytes) / max(raw_bytes, 1)
        raise DataError(
            f"the tokens stand for {check.counted:,} bytes but the raw validation text has {raw_bytes:,} "
            f"({error:+.2f} %), so no score is given; worst tokens: {_worst(table, tokenizer, stream)}. If this "
            "tokenizer changes the text by design, say so with --set text.lossy_tokenizer=true",
            percent=error,
        )
    return check


def _counted(table: ByteTable, stream: TokenStream) -> int:
    total = 0
    for start in range(0, len(stream) - 1, _CHUNK):
        part = stream.read(start, _CHUNK + 1)
        total += int(table.count(part[:-1], part[1:]).sum())
    return total


def _decoded(tokenizer: Tokenizer, stream: TokenStream) -> int:
    """UTF-8 length of the decoded text; byte pieces at the ends of a document, where a stream may be cut, count 1."""
    bos, is_byte = tokenizer.bos, tokenizer.processor.is_byte
    total = 0
    for index, ids in enumerate(stream.documents(bos)):
        tokens = [int(i) for i in ids]
        if index == 0 and int(stream.read(0, 1)[0]) != bos:
            tokens.pop(0)  # the stream's first token is never a target
            while tokens and is_byte(tokens[0]):
                tokens.pop(0)
                total += 1
        while tokens and is_byte(tokens[-1]):
            tokens.pop()
            total += 1
        total += len(tokenizer.decode(tokens).encode())
    return total


def _worst(table: ByteTable, tokenizer: Tokenizer, stream: TokenStream, most: int = 5) -> str:
    """The tokens whose table entry differs most, occurrences included, from what decoding them after a letter adds."""
    used_V = np.zeros(table.bytes_V.size, np.int64)
    for start in range(0, len(stream), _CHUNK):
        used_V += np.bincount(stream.read(start, _CHUNK), minlength=used_V.size)
    pieces = tokenizer.processor
    anchor = [i for i in range(tokenizer.vocab_size) if pieces.id_to_piece(i).isalnum()][:1]
    base = len(tokenizer.decode(anchor).encode())
    errors = []
    for token in np.flatnonzero(used_V).tolist():
        if table.boundary_V[token] and table.bytes_V[token] == 0:
            continue
        byte = pieces.is_byte(token)
        true = 1 if byte else len(tokenizer.decode([*anchor, token]).encode()) - base
        off = int(table.bytes_V[token]) - true
        if off:
            errors.append((abs(off) * int(used_V[token]), token, off))
    errors.sort(reverse=True)
    named = [f"{pieces.id_to_piece(t)!r} (id {t}, {off:+d} byte, {used_V[t]:,} times)" for _, t, off in errors[:most]]
    return ", ".join(named) or "none by itself; the tokenizer changes the text (spaces, line ends or normalisation)"
