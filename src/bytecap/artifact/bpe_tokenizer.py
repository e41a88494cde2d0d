"""A tokenizer.json of byte-pair encoding without what follows from the rest: its merges, the numbers of its pieces.

In:   the bytes of the file.
Out:  fewer bytes, where the file is exactly what they give back; and back, trusting nothing.

A merge makes a piece, pieces are numbered in the order in which they were made, and what the earlier merges leave of a
piece are two parts: those of its own merge. So the pieces in their order tell the merges.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from bytecap.core.errors import FormatError

PAIRS, WORDS = "pairs", "words"
"""How the file writes a merge: as two strings, or as one with a space between."""
MAX_PIECES, MAX_PIECE = 1 << 18, 256
"""Pieces of a tokenizer, and letters of one, beyond which its merges stay in the file: finding them takes time."""


def without_merges(data: bytes) -> bytes | None:
    """The file without its merges; None where they do not follow from its pieces, or it is of another kind."""
    try:
        whole = json.loads(data)
        model = whole["model"]
        vocab, merges = model["vocab"], model["merges"]
        if model["type"] != "BPE" or list(vocab.values()) != list(range(len(vocab))):
            return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not _is_short(list(vocab)):
        return None
    model["vocab"] = list(vocab)
    model["merges"] = WORDS if merges and isinstance(merges[0], str) else PAIRS
    short = _written(whole)
    return short if with_merges(short) == data else None


def with_merges(data: bytes) -> bytes:
    """The file as it was; FormatError for what `without_merges` does not write."""
    try:
        whole = json.loads(data)
        model = whole["model"]
        pieces, form = model["vocab"], model["merges"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"the attached tokenizer cannot be read: {error}") from error
    if not isinstance(pieces, list) or form not in (PAIRS, WORDS) or not _is_short(pieces):
        raise FormatError(
            f"the attached tokenizer must list at most {MAX_PIECES:,} different pieces of at most {MAX_PIECE} letters"
        )
    merges = _merges(pieces)
    model["vocab"] = {piece: number for number, piece in enumerate(pieces)}
    model["merges"] = [" ".join(pair) for pair in merges] if form == WORDS else merges
    return _written(whole)


def _merges(pieces: list[str]) -> list[list[str]]:
    """The merge of each piece that has one, in order."""
    ranks: dict[tuple[str, str], int] = {}
    for piece in pieces:
        parts = list(piece)
        while len(parts) > 2:
            known = [ranks.get(pair, MAX_PIECES) for pair in itertools.pairwise(parts)]
            best = known.index(min(known))
            if known[best] == MAX_PIECES:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            ranks.setdefault((parts[0], parts[1]), len(ranks))
    return [list(pair) for pair in ranks]


def _is_short(pieces: list[Any]) -> bool:
    if len(pieces) > MAX_PIECES or not all(isinstance(piece, str) and len(piece) <= MAX_PIECE for piece in pieces):
        return False
    return len(set(pieces)) == len(pieces)


def _written(whole: Any) -> bytes:
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
