"""The bytes of each piece of a vocabulary, as a table counts them and as decoding adds them.

In:   a ByteCounter.
Out:  the pieces that are counted wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bytecap.auditing.subject import ByteCounter
from bytecap.text.tokenizer import SPACE_MARK, Tokenizer


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One token after another one: what the table counts and what it is worth."""

    token: int
    text: str
    after: str
    """A letter, or BOS."""
    counted: int
    true: int

    @property
    def begins_with_space(self) -> bool:
        """Pieces of the rule of the leading space."""
        return self.text.startswith(SPACE_MARK)

    def shown(self) -> str:
        """One place of a finding."""
        return f"{self.text!r} (id {self.token}) after {self.after}: {self.counted} counted, {self.true} true"


def wrong_pieces(counter: ByteCounter, chosen: Callable[[Piece], bool]) -> tuple[int, list[Piece]]:
    """How many pieces were asked, and those of which the table counts other bytes than decoding adds."""
    asked, wrong = 0, []
    for piece in _pieces(counter):
        if chosen(piece):
            asked += 1
            if piece.counted != piece.true:
                wrong.append(piece)
    return asked, wrong


def _pieces(counter: ByteCounter) -> Iterator[Piece]:
    """Every token that stands for text, after a letter and, where it is worth other bytes there, after BOS."""
    tokenizer, table = counter.tokenizer, counter.table
    letter, bos = tokenizer.letter, tokenizer.bos
    for token in range(tokenizer.vocab_size):
        if tokenizer.is_special(token):
            continue
        text = tokenizer.pieces[token]
        befores = [("a letter", letter)] if letter else []
        if text.startswith(SPACE_MARK) or not letter:
            befores.append(("BOS", []))
        for after, before in befores:
            previous = np.array([before[0] if before else bos])
            counted = int(table.count(previous, np.array([token]))[0])
            yield Piece(token=token, text=text, after=after, counted=counted, true=_worth(tokenizer, before, token))


def _worth(tokenizer: Tokenizer, before: list[int], token: int) -> int:
    """Bytes that a token adds to the text before it; a piece of one byte is one, whatever it decodes to alone."""
    if tokenizer.is_byte(token):
        return 1
    if tokenizer.transform == "case":  # marks alone have no text to come back from; the letters behind them have
        return len(tokenizer.piece_text(token).encode()) - (not before and tokenizer.drops_first_space)
    return len(tokenizer.decode([*before, token]).encode()) - len(tokenizer.decode(before).encode())
