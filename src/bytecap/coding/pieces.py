"""The model file of a SentencePiece tokenizer, turned so that a general compressor sees like beside like.

In:   the bytes of a `.model` file: a protocol buffer that begins with one message for each piece (text, score, type).
Out:  all texts, then all scores, then all types, then the rest as it is; exactly the same bytes back.

A byte-pair vocabulary of 1,024 pieces takes a third fewer bytes behind brotli this way: its scores are -0, -1, -2, ...
Source:  field numbers: sentencepiece_model.proto of google/sentencepiece.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import FormatError

_PIECE, _TEXT, _SCORE, _TYPE = 0x0A, 0x0A, 0x15, 0x18
"""Tags: field 1 of the file; fields 1 (bytes), 2 (float32) and 3 (number) of a piece."""
_BYTES, _FIXED = 2, {1: 8, 5: 4}
"""Wire types: bytes with their length in front, and numbers of so many bytes."""
_NORMAL = 0
"""Sent for a piece without a type."""
_HEAD = struct.Struct("<IIB")
"""Pieces, bytes of their texts, whether scores are whole numbers."""
_MAX_PIECES = 1 << 22


@lru_cache(maxsize=2)
def to_columns(data: bytes) -> bytes | None:
    """The columns, or None when `data` is not written in the usual way and would not come back exactly."""
    texts: list[bytes] = []
    scores: list[float] = []
    types: list[int] = []
    position = 0
    while position < len(data) and data[position] == _PIECE:
        size, begin = _varint(data, position + 1)
        piece = _piece(data[begin : begin + size])
        if piece is None:
            return None
        texts.append(piece[0])
        scores.append(piece[1])
        types.append(piece[2])
        position = begin + size
    columns = _join(texts, np.array(scores, "<f4"), bytes(types), data[position:])
    return columns if columns is not None and from_columns(columns) == data else None


def from_columns(columns: bytes) -> bytes:
    """The file again; FormatError for columns that were not made by `to_columns`."""
    if len(columns) < _HEAD.size:
        raise FormatError("the tokenizer's columns are cut short")
    count, text_size, whole = _HEAD.unpack_from(columns)
    texts_end = _HEAD.size + text_size
    scores_end = texts_end + 4 * count
    if count > _MAX_PIECES or len(columns) < scores_end + count or whole > 1:
        raise FormatError("the tokenizer's columns are cut short, or of another kind")
    *texts, behind = columns[_HEAD.size : texts_end].split(b"\0")
    if len(texts) != count or behind:
        raise FormatError("the tokenizer's columns have another number of texts than of scores")
    planes = np.frombuffer(columns[texts_end:scores_end], np.uint8).reshape(4, count)
    numbers = np.ascontiguousarray(planes.T).view("<i4" if whole else "<f4").reshape(count)
    if whole:
        folded = np.cumsum(numbers, dtype=np.int64)
        numbers = np.where(folded & 1, -1.0, 1.0) * (folded >> 1)
    scores = numbers.astype("<f4")
    out = bytearray()
    for text, score, kind in zip(texts, scores, columns[scores_end : scores_end + count], strict=True):
        piece = bytes([_TEXT]) + _to_varint(len(text)) + text + bytes([_SCORE]) + score.tobytes()
        if kind != _NORMAL:
            piece += bytes([_TYPE, kind])
        out += bytes([_PIECE]) + _to_varint(len(piece)) + piece
    return bytes(out) + columns[scores_end + count :]


def check_texts(data: bytes) -> None:
    """Raise FormatError for a tokenizer's file that is no protocol buffer, or has a piece whose text is not UTF-8."""
    for piece in _messages(data, _PIECE):
        for text in _messages(piece, _TEXT):
            try:
                text.decode()
            except UnicodeDecodeError:
                raise FormatError(f"a piece of the tokenizer is not UTF-8: {text[:40]!r}") from None


def _messages(data: bytes, tag: int) -> Iterator[bytes]:
    """The contents of every field with this tag."""
    position = 0
    while position < len(data):
        found, position = _varint(data, position)
        if (wire := found & 7) == _BYTES:
            size, position = _varint(data, position)
            if found == tag:
                yield data[position : position + size]
        elif wire in _FIXED:
            size = _FIXED[wire]
        elif wire == 0:
            _, position = _varint(data, position)
            size = 0
        else:
            raise FormatError("the tokenizer is not a SentencePiece model")
        position += size
    if position > len(data):
        raise FormatError("the tokenizer is cut short")


def _join(texts: list[bytes], scores: npt.NDArray[np.float32], types: bytes, rest: bytes) -> bytes | None:
    joined = b"".join(text + b"\0" for text in texts)
    if not texts or joined.count(b"\0") != len(texts) or not np.isfinite(scores).all():
        return None
    whole = bool((scores == np.rint(scores)).all() and np.abs(scores).max() < 1 << 24)
    numbers: npt.NDArray[np.generic] = scores
    if whole:
        folded = 2 * np.abs(scores).astype(np.int64) + np.signbit(scores)  # there are scores of -0.0
        numbers = np.diff(folded, prepend=0).astype("<i4")
    planes = np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, 4).T.tobytes()
    return _HEAD.pack(len(texts), len(joined), whole) + joined + planes + types + rest


def _piece(body: bytes) -> tuple[bytes, float, int] | None:
    """Text, score and type of one piece; None for any other layout."""
    if len(body) < 2 or body[0] != _TEXT:
        return None
    size, begin = _varint(body, 1)
    end = begin + size
    if len(body) < end + 5 or body[end] != _SCORE:
        return None
    rest = body[end + 5 :]
    if rest and (len(rest) != 2 or rest[0] != _TYPE or rest[1] == _NORMAL):
        return None
    return body[begin:end], struct.unpack_from("<f", body, end + 1)[0], rest[1] if rest else _NORMAL


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place behind it."""
    value = shift = 0
    while position < len(data) and shift < 35:
        byte = data[position]
        value, shift, position = value | (byte & 127) << shift, shift + 7, position + 1
        if byte < 128:
            break
    return value, position


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
