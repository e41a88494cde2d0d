"""How many bytes of text each token stands for: the denominator of bits per byte.

In:   a Tokenizer.
Out:  a ByteTable.

A control, unknown or unused piece stands for 0 bytes, a byte piece for 1, any other for the UTF-8 length of its text
with each U+2581 read as one space. Marks of a tokenizer that factors case out count nothing: small letters have as many
bytes as the capitals that they stand for. Where the tokenizer puts a space before every text and drops it again (the
contest's and Llama's do), the space of a first word, right after BOS, stands for nothing; elsewhere it counts.

Source:  openai/parameter-golf train_gpt.py. Differs: U+2581 inside a piece counts one byte, as the space it is, not
         the three of its UTF-8; the contest's tokenizers have no such piece.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bytecap.text.tokenizer import SPACE_MARK, Tokenizer


@dataclass(frozen=True)
class ByteTable:
    """Bytes per token id (V entries each); ids of padding rows beyond the tokenizer count 0 and are boundaries."""

    bytes_V: npt.NDArray[np.int64]
    leading_space_V: npt.NDArray[np.bool_]
    boundary_V: npt.NDArray[np.bool_]
    drops_first_space: bool
    text_V: tuple[str, ...] = ()
    """The text of each token, spaces as they are; of a byte, the character of that number. Empty where not known."""

    def count(self, previous_N: npt.NDArray[np.int64], target_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Bytes of each target, given the token before it."""
        counts: npt.NDArray[np.int64] = self.bytes_V[target_N]
        if self.drops_first_space:
            counts = counts - (self.leading_space_V[target_N] & self.boundary_V[previous_N])
        return counts


def build_table(tokenizer: Tokenizer, *, vocab_size: int | None = None) -> ByteTable:
    """The table of a tokenizer, padded to `vocab_size` ids."""
    size = max(vocab_size or 0, tokenizer.vocab_size)
    bytes_V = np.zeros(size, np.int64)
    leading_V = np.zeros(size, np.bool_)
    boundary_V = np.ones(size, np.bool_)
    text_V = [""] * size
    for token, piece in enumerate(tokenizer.pieces):
        if tokenizer.is_special(token):
            continue
        boundary_V[token] = False
        if tokenizer.is_byte(token):
            bytes_V[token] = 1
            text_V[token] = chr(int(piece[3:5], 16))
            continue
        leading_V[token] = piece.startswith(SPACE_MARK)
        text_V[token] = tokenizer.piece_text(token)
        bytes_V[token] = len(text_V[token].encode())
    return ByteTable(bytes_V, leading_V, boundary_V, tokenizer.drops_first_space, tuple(text_V))
