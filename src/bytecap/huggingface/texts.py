"""Documents as one stream of a Hugging Face tokenizer's tokens, with the bytes of each token.

In:   documents, a HuggingFaceTokenizer.
Out:  a TokenizedText: tokens, bytes of each token or why there are none, what a score is made from.

Shards hold ids below 65,536 alone, so the stream lies in memory: 5 bytes for each token.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import DataError
from bytecap.core.progress import Progress
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from bytecap.scoring.validation import Validation
from bytecap.text.byte_check import ByteCheck, first_difference
from bytecap.text.byte_counts import ByteTable
from bytecap.text.config import TextConfig
from bytecap.text.shards import TokenStream
from bytecap.text.survey import note_skipped, open_corpus

NO_BOS = -1
"""An id that no token has: a tokenizer without one for the beginning of a text makes one document of all."""


class TokenArray(TokenStream):
    """A stream in memory."""

    def __init__(self, tokens_N: npt.NDArray[np.integer]) -> None:
        self._tokens_N = tokens_N

    def __len__(self) -> int:
        return len(self._tokens_N)

    def read(self, start: int, length: int) -> npt.NDArray[np.int64]:
        """Up to `length` tokens from `start`, as int64."""
        return self._tokens_N[start : start + length].astype(np.int64)


@dataclass(frozen=True)
class TokenizedText:
    """Tokens of a text, each document after BOS."""

    tokens: TokenArray
    bytes: TokenArray | None
    """Bytes of each token; None where the tokenizer loses text."""
    lost: str
    """Why there are no bytes; empty where there are."""
    raw_bytes: int
    bos: int

    def validation(self) -> Validation:
        """What a score is made from; where the bytes are not known they are zeros, and no bits per byte come of it."""
        counts = TokenArray(np.zeros(len(self.tokens), np.int8)) if self.bytes is None else self.bytes
        counted = int(counts.read(1, len(counts)).sum())
        check = ByteCheck(counted, None if self.bytes is None else counted, self.raw_bytes)
        nothing = np.zeros(0, np.bool_)
        table = ByteTable(np.zeros(0, np.int64), nothing, nothing, drops_first_space=False)
        return Validation(self.tokens, counts, table, self.bos, check)


def tokenize(text: TextConfig, tokenizer: HuggingFaceTokenizer, progress: Progress) -> TokenizedText:
    """Every document of `text`; DataError where there is none."""
    corpus = open_corpus(text, text.paths)
    found = tokenize_documents(corpus.documents(), tokenizer)
    note_skipped(corpus, progress)
    if found.lost:
        progress.note(f"no bits per byte are given: {found.lost}")
    return found


def tokenize_documents(documents: Iterable[str], tokenizer: HuggingFaceTokenizer) -> TokenizedText:
    """Documents in their order, each after BOS where there is one."""
    bos, lost, raw_bytes = tokenizer.bos, "", 0
    ids_N, counts_N = array("i"), array("q")
    for number, document in enumerate(documents, start=1):
        ids = tokenizer.encode(document)
        raw_bytes += len(document.encode())
        counts = tokenizer.count_bytes(document, ids) if not lost else None
        if counts is None and not lost:
            lost = f"document {number:,} {describe_loss(tokenizer, document, ids)}"
        if bos is not None:
            ids_N.append(bos)
            counts_N.append(0)
        ids_N.extend(ids)
        counts_N.extend(counts or [0] * len(ids))
    if len(ids_N) < 2:
        raise DataError("the text has fewer than two tokens; give more text")
    tokens_N = np.array(ids_N, np.int32)
    counted = None if lost else TokenArray(np.array(counts_N, np.int32))
    return TokenizedText(TokenArray(tokens_N), counted, lost, raw_bytes, NO_BOS if bos is None else bos)


def describe_loss(tokenizer: HuggingFaceTokenizer, text: str, ids: list[int]) -> str:
    """Where the text first differs from what its tokens decode to."""
    found = tokenizer.recovered(ids)
    if found == text:
        return "comes back from its tokens, and where each of them ends cannot be told"
    _, place = first_difference(text, found)
    return f"does not come back from the tokenizer as it was, so an easier text would be scored: {place}"
