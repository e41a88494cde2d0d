"""A tokenizer of transformers: text to ids and back, and how many bytes of the text each token stands for.

In:   a folder with tokenizer files.
Out:  a HuggingFaceTokenizer.

What a token stands for follows from its piece where pieces are spelled in bytes (byte-level BPE) or in characters with
U+2581 for the space (SentencePiece), and otherwise from where it ends in the text. Either way the bytes of a document's
tokens sum to the bytes of the document, which is checked for every document; a document that does not come back from
its tokens as it was has no bits per byte.

Source: the table of byte-level BPE is that of GPT-2 (Radford et al. 2019).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bytecap.core.errors import DataError
from bytecap.huggingface.library import OFFLINE, library_errors, transformers
from bytecap.text.tokenizer import SPACE_MARK

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "merges.txt",
    "vocab.txt",
)  # fmt: skip
"""The files that a tokenizer is made from; tokenizer.json holds all of it, the others are read where it is missing."""
_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
PADDING = 1_024
"""Rows that a model may have behind its tokenizer's ids in any case."""
_LONG = int(1e30)
"""Length from which the library would otherwise warn."""


@dataclass(frozen=True, eq=False)
class HuggingFaceTokenizer:
    """A tokenizer as transformers loads it."""

    library_object: Any

    @classmethod
    def read(cls, path: Path, origin: str, *, trust_code: bool = False) -> HuggingFaceTokenizer:
        """The tokenizer of a folder; DataError, naming `origin`, where there is none that can be read."""
        library = transformers()
        with library_errors(library, f"the tokenizer of {origin}"):
            found = library.AutoTokenizer.from_pretrained(str(path), trust_remote_code=trust_code, **OFFLINE)
            found.model_max_length = _LONG
        return cls(found)

    @cached_property
    def size(self) -> int:
        """The highest id plus one."""
        return 1 + max(self.library_object.get_vocab().values(), default=-1)

    @cached_property
    def bos(self) -> int | None:
        """The id that each document begins with: that of a beginning of text, else of an end; None where neither is."""
        kinds = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
        found = [getattr(self.library_object, kind, None) for kind in kinds]
        return next((token for token in found if isinstance(token, int)), None)

    @cached_property
    def end(self) -> int | None:
        """The id that ends a text, else the one that begins the next; None where neither is."""
        found = getattr(self.library_object, "eos_token_id", None)
        return found if isinstance(found, int) else self.bos

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without any special token."""
        return list(self.library_object.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids stand for."""
        return str(self.library_object.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def recovered(self, ids: Sequence[int]) -> str:
        """The text that ids alone stand for.

        What they decode to, if that has these ids. Else, as where Llama's decoding drops a space that encoding did not
        put there, what they decode to behind a letter.
        """
        found, ids = self.decode(ids), list(ids)
        if self.encode(found) == ids:
            return found
        letter = self.encode("a")
        before = self.decode(letter)
        behind = self.decode([*letter, *ids])
        return behind[len(before) :] if before == "a" and behind.startswith(before) else found

    def count_bytes(self, text: str, ids: Sequence[int]) -> list[int] | None:
        """Bytes that each of the `ids` of `text` stands for; None where the text does not come back from them.

        They sum to the UTF-8 length of the text.
        """
        if self.decode(ids) != text and self.recovered(ids) != text:
            return None
        total = len(text.encode())
        counts = [self._piece_bytes(token) for token in ids]
        if counts and sum(counts) == total + 1 and self._begins_with_space(ids[0]):
            counts[0] -= 1  # put there by encoding, dropped by decoding
        return counts if sum(counts) == total else self._by_offsets(text, ids)

    def _by_offsets(self, text: str, ids: Sequence[int]) -> list[int] | None:
        """The text is cut where each token ends; what no token covers belongs to the next one, or the last."""
        if not getattr(self.library_object, "is_fast", False):
            return None
        found = self.library_object(text, add_special_tokens=False, return_offsets_mapping=True)
        if list(found["input_ids"]) != list(ids):
            return None
        counts, end = [], 0
        for index, (_, stop) in enumerate(found["offset_mapping"]):
            stop = len(text) if index == len(ids) - 1 else max(stop, end)
            counts.append(len(text[end:stop].encode()))
            end = stop
        return counts

    def _piece_bytes(self, token: int) -> int:
        """Bytes that a token stands for by its piece alone."""
        cached = self._bytes_by_token.get(token)
        if cached is None:
            cached = self._bytes_by_token[token] = self._spelled(token)
        return cached

    def _spelled(self, token: int) -> int:
        piece = str(self.library_object.convert_ids_to_tokens(token))
        if token in self._added:
            return len(piece.encode())
        if self._is_byte_level:
            return len(piece)
        if _BYTE_PIECE.fullmatch(piece):
            return 1
        return len(piece.replace(SPACE_MARK, " ").encode())

    def _begins_with_space(self, token: int) -> bool:
        piece = str(self.library_object.convert_ids_to_tokens(token))
        return piece.startswith((SPACE_MARK, "\u0120"))

    @cached_property
    def _bytes_by_token(self) -> dict[int, int]:
        return {}

    @cached_property
    def _added(self) -> set[int]:
        """Ids of tokens that were added to the vocabulary, whose pieces are spelled as they are."""
        return set(getattr(self.library_object, "added_tokens_decoder", {}))

    @cached_property
    def _is_byte_level(self) -> bool:
        """Each character of a piece stands for one byte."""
        backend = getattr(self.library_object, "backend_tokenizer", None)
        return backend is not None and "ByteLevel" in repr(getattr(backend, "decoder", None))


def has_tokenizer(names: Collection[str]) -> bool:
    """Return whether files of these names make a tokenizer."""
    return not {*names}.isdisjoint(TOKENIZER_FILES)


def refuse_vocabulary(tokenizer: HuggingFaceTokenizer, vocab_size: int, architecture: str) -> None:
    """Raise DataError where the tokenizer has ids that the model does not know, or far fewer than it knows."""
    if vocab_size and tokenizer.size > vocab_size:
        raise DataError(
            f"the tokenizer has ids up to {tokenizer.size - 1:,}, {architecture} a vocabulary of {vocab_size:,}; they "
            "do not belong together: put the tokenizer that the model was trained with into the folder"
        )
    if vocab_size - tokenizer.size > max(PADDING, tokenizer.size):
        raise DataError(
            f"the tokenizer has {tokenizer.size:,} ids, {architecture} a vocabulary of {vocab_size:,}, more than twice "
            "as many; they do not belong together: put the tokenizer that the model was trained with into the folder"
        )
