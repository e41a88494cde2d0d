"""A byte table is checked against the text before any score comes from it.

In:   a ByteTable and the tokens that it counts, the raw documents if they are available.
Out:  a ByteCheck, or a DataError that shows where the tokens and the text part.

Texts are compared, not lengths: a tokenizer that folds case keeps every length, and its text is easier to predict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from bytecap.core.errors import DataError
from bytecap.core.units import counted
from bytecap.text.byte_counts import ByteTable
from bytecap.text.shards import TokenStream
from bytecap.text.tokenizer import Tokenizer

_CHUNK = 1 << 20
_AROUND = 20
"""Characters shown on either side of a difference."""
_DECLARE = "If this tokenizer changes the text by design, say so with --set text.lossy_tokenizer=true"


@dataclass(frozen=True)
class ByteCheck:
    """Bytes of the validation text, counted three ways, and whether the tokens keep that text.

    `decoded` is None where a sidecar gives the counts, `raw` and `changed_documents` if the raw text is not available.
    """

    counted: int
    decoded: int | None
    raw: int | None
    changed_documents: int | None = None
    """Documents that decode to another text than the raw one; only a declared tokenizer may have any."""


def check_table(
    table: ByteTable,
    tokenizer: Tokenizer,
    stream: TokenStream,
    *,
    raw: Iterable[str] | None,
    lossy_declared: bool = False,
) -> ByteCheck:
    """Compare each document with its raw text, and the table's sum with the length of the decoded text.

    `raw` gives the documents of the stream in its order, None if only tokens are available. DataError when a text
    comes back changed and the tokenizer is not declared lossy, when the tokens stand for more bytes than the raw text
    has, or when the table counts other bytes than the decoded text has.
    """
    raw_bytes, changed = (None, None) if raw is None else _compare(tokenizer, stream, raw, lossy_declared)
    decoded = _decoded(tokenizer, stream)
    check = ByteCheck(_counted(table, stream), decoded, raw_bytes, changed)
    if check.counted != decoded:
        raise _refusal(
            f"the byte table counts {check.counted:,} bytes where the decoded validation text has {decoded:,}",
            check.counted / max(decoded, 1), _worst(table, tokenizer, stream),
        )  # fmt: skip
    if raw_bytes is not None and check.counted > raw_bytes:
        raise _refusal(
            f"the tokens stand for {check.counted:,} bytes but the raw validation text has only {raw_bytes:,}",
            check.counted / max(raw_bytes, 1), "the tokenizer makes the text longer, which would flatter the score",
        )  # fmt: skip
    return check


def _refusal(found: str, ratio: float, cause: str) -> DataError:
    percent = 100.0 * (ratio - 1.0)
    return DataError(
        f"{found} ({percent:+.2f} %), so no score is given; {cause}. Use another tokenizer", percent=percent
    )


def _compare(tokenizer: Tokenizer, stream: TokenStream, raw: Iterable[str], lossy_declared: bool) -> tuple[int, int]:
    """Bytes of the raw documents and how many of them come back changed; DataError for one, unless declared."""
    raw_bytes = changed = 0
    decoded = (tokenizer.decode(ids.tolist()) for ids in stream.documents(tokenizer.bos, empty=True))
    for number, (text, found) in enumerate(zip_longest(raw, decoded), start=1):
        if text is None or found is None:
            raise DataError(
                f"the validation tokens hold {'more' if text is None else 'fewer'} documents than the raw validation "
                f"text, from document {number:,} on; they do not belong together, prepare again"
            )
        raw_bytes += len(text.encode())
        if text == found:
            continue
        changed += 1
        if not lossy_declared:
            raise DataError(
                f"held-out document {number:,} does not come back from the tokenizer as it was, so no score "
                f"can be given: "
                f"{describe_difference(tokenizer, text, found)}. {_DECLARE}",
                document=number,
            )
    return raw_bytes, changed


def first_difference(text: str, found: str) -> tuple[int, str]:
    """The first character in which `found` differs from `text`, and both around it, in words."""
    at = next((i for i, (a, b) in enumerate(zip(text, found, strict=False)) if a != b), min(len(text), len(found)))
    begin, end = max(0, at - _AROUND), at + _AROUND
    return at, f"from character {at:,} on, {text[begin:end]!r} becomes {found[begin:end]!r}"


def describe_difference(tokenizer: Tokenizer, text: str, found: str) -> str:
    """Where `found` first differs from `text`, and why where it is known."""
    at, place = first_difference(text, found)
    unknown = tokenizer.processor.unk_id()
    missing = next((c for c in text[at:] if unknown in tokenizer.encode(c)), None)
    if missing is None:
        return place
    return f"{place}, because the tokenizer has no piece for {missing!r} and no pieces for bytes, so it becomes <unk>"


def _counted(table: ByteTable, stream: TokenStream) -> int:
    """The table's sum over every token but the first."""
    total = 0
    for start in range(0, len(stream) - 1, _CHUNK):
        part = stream.read(start, _CHUNK + 1)
        total += int(table.count(part[:-1], part[1:]).sum())
    return total


def _decoded(tokenizer: Tokenizer, stream: TokenStream) -> int:
    """UTF-8 length of the text that every token but the first stands for; DataError where one is unknown."""
    total, unknown = 0, tokenizer.processor.unk_id()
    for ids, inside in _targets(tokenizer, stream):
        if unknown in ids:
            raise DataError(
                f"the validation tokens hold {tokenizer.pieces[unknown]!r}, the piece for what the tokenizer has no "
                "piece for, so the bytes of the text are not known and no score is given; use a tokenizer with pieces "
                "for bytes"
            )
        begin, end = 0, len(ids)
        while inside and begin < end and tokenizer.is_byte(ids[begin]):
            begin += 1
        while end > begin and tokenizer.is_byte(ids[end - 1]):
            end -= 1
        before = tokenizer.letter if inside else []
        text = tokenizer.decode([*before, *ids[begin:end]])
        total += len(text.encode()) - len(before) + begin + len(ids) - end
    return total


def _targets(tokenizer: Tokenizer, stream: TokenStream) -> Iterator[tuple[list[int], bool]]:
    """Each document's tokens and whether they begin inside it, as those of a stream that was cut do.

    The stream's first token is never a target. After a letter the first piece keeps its space, which decoding would
    drop; byte pieces at either end may be of a character that was cut, so each counts one.
    """
    inside = int(stream.read(0, 1)[0]) != tokenizer.bos
    for ids in stream.documents(tokenizer.bos):
        yield ids.tolist()[1 if inside else 0 :], inside
        inside = False


def _worst(table: ByteTable, tokenizer: Tokenizer, stream: TokenStream, most: int = 5) -> str:
    """The tokens whose table entry differs most, occurrences included, from what decoding them after a letter adds."""
    used_V = np.zeros(table.bytes_V.size, np.int64)
    for start in range(0, len(stream), _CHUNK):
        used_V += np.bincount(stream.read(start, _CHUNK), minlength=used_V.size)
    base = len(tokenizer.decode(tokenizer.letter))
    errors = []
    for token in np.flatnonzero(used_V).tolist():
        if table.boundary_V[token] and table.bytes_V[token] == 0:
            continue
        true = 1 if tokenizer.is_byte(token) else len(tokenizer.decode([*tokenizer.letter, token]).encode()) - base
        off = int(table.bytes_V[token]) - true
        if off:
            errors.append((abs(off) * int(used_V[token]), token, off))
    errors.sort(reverse=True)
    named = [
        f"{tokenizer.pieces[t]!r} (id {t}, {off:+d} byte, {counted(used_V[t], 'time')})" for _, t, off in errors[:most]
    ]
    if named:
        return f"worst tokens: {', '.join(named)}"
    return "no token by itself is wrong; the tokenizer changes the text (spaces, line ends or normalisation)"
