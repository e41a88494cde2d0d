"""A SentencePiece tokenizer: text to token ids and back, and everything that is known of it.

In:   the bytes of a SentencePiece `.model` file.
Out:  a Tokenizer.

A tokenizer may ask for a transform of text: a control piece `<transform:case>`, which stands for no text, says that its
pieces are of text whose case is factored out (text/case_transform.py). So the two can never come apart.

Source: SentencePiece (Kudo & Richardson 2018).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import sentencepiece

from bytecap.core.digest import digest_bytes
from bytecap.core.errors import DataError
from bytecap.text.case_transform import MARKS, Transform, factor_case, restore_case, without_marks

CASE_PIECE = "<transform:case>"
"""The control piece of a tokenizer of text without case."""
_ANY_TRANSFORM = re.compile("<transform:.*>")
SPACE_MARK = "\u2581"
"""SentencePiece writes the space as this character, so a text that holds it does not survive the round trip."""
_PROBE = " two  Spaces\ttab\nNEWLINE\r\n\u00a0\u2460\uff21\ufb01 \u00e9e\u0301 \u00c9 \u2019 end \n"
"""A text full of what normalisers change."""


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A tokenizer; made with `Tokenizer.from_bytes` or `Tokenizer.read`, which check it.

    >>> tokenizer = Tokenizer.read(Path("tokenizer.model"))  # doctest: +SKIP
    >>> tokenizer.decode(tokenizer.encode("any text"))  # doctest: +SKIP
    'any text'
    """

    model: bytes
    """The `.model` file."""
    processor: sentencepiece.SentencePieceProcessor
    """What SentencePiece makes of it, for what stands in no method here: the kind of each piece."""
    pieces: tuple[str, ...]
    """The text of each piece, spaces as U+2581."""

    @classmethod
    def from_bytes(cls, model: bytes, *, origin: str = "the tokenizer") -> Tokenizer:
        """The tokenizer in the bytes of a `.model` file. DataError, naming `origin`, when they are not one."""
        try:
            processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, ValueError) as error:
            raise DataError(
                f"{origin} is not a SentencePiece model ({str(error).strip()}); "
                "give the .model file that SentencePiece wrote"
            ) from error
        if processor.bos_id() < 0:
            raise DataError(f"{origin} has no BOS piece, which marks the start of each document")
        pieces = []
        for token in range(processor.get_piece_size()):
            try:
                pieces.append(processor.id_to_piece(token))
            except UnicodeDecodeError as error:
                raise DataError(f"piece {token} of {origin} is not UTF-8, so it has no text") from error
        made = cls(model, processor, tuple(pieces))
        made._check_transform(origin)
        return made

    @classmethod
    def read(cls, path: Path) -> Tokenizer:
        """The tokenizer in a `.model` file. DataError when the file cannot be read or is not one."""
        try:
            model = path.read_bytes()
        except OSError as error:
            raise DataError(
                f"cannot read tokenizer {path}: {error}; give a SentencePiece .model file", path=str(path)
            ) from error
        return cls.from_bytes(model, origin=str(path))

    @property
    def bos(self) -> int:
        """Id of the piece with which each document begins."""
        return int(self.processor.bos_id())

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""
        return len(self.pieces)

    @cached_property
    def transform(self) -> Transform:
        """What is done to a text before it is cut into pieces, and undone behind them."""
        return "case" if CASE_PIECE in self._asked_for else "none"

    @property
    def _asked_for(self) -> list[str]:
        """Names of control pieces that ask for a transform."""
        control = self.processor.is_control
        return [piece for i, piece in enumerate(self.pieces) if _ANY_TRANSFORM.fullmatch(piece) and control(i)]

    def _check_transform(self, origin: str) -> None:
        """Raise DataError for a transform that is not known, and for one without a piece for each of its marks."""
        if unknown := [piece for piece in self._asked_for if piece != CASE_PIECE]:
            raise DataError(
                f"{origin} asks for the transform {unknown[0][:60]!a}, and this version knows {CASE_PIECE}; read "
                "it with the version that made it"
            )
        normal = {piece for i, piece in enumerate(self.pieces) if not (self.is_special(i) or self.is_byte(i))}
        if self.transform == "case" and not normal >= set(MARKS):
            raise DataError(
                f"{origin} asks for {CASE_PIECE} and has no piece for one of its marks, {MARKS!a}; train it with "
                "text.transform = case"
            )

    @cached_property
    def digest(self) -> str:
        """Digest of the `.model` file."""
        return digest_bytes(self.model)

    @cached_property
    def lossless(self) -> bool:
        """True when a text full of what normalisers change comes back as it was."""
        return self.decode(self.encode(_PROBE)) == _PROBE

    @cached_property
    def drops_first_space(self) -> bool:
        """Decoding drops the space that the first piece of a text begins with, as one put there by encoding."""
        for token, piece in enumerate(self.pieces):
            if piece.startswith(SPACE_MARK) and not self.is_special(token):
                return str(self.processor.decode([token])) != piece.replace(SPACE_MARK, " ")
        return False

    @cached_property
    def letter(self) -> list[int]:
        """A token that decodes to a letter or a digit, to put before tokens from inside a text; [] where none does."""
        for token in range(self.vocab_size):
            text = self.decode([token]) if not self.is_special(token) else ""
            if len(text) == 1 and text.isascii() and text.isalnum():
                return [token]
        return []

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without BOS."""
        return list(self.processor.encode(factor_case(text) if self.transform == "case" else text))

    def decode(self, ids: Iterable[int]) -> str:
        """The text that token ids stand for."""
        text = str(self.processor.decode(list(ids)))
        return restore_case(text) if self.transform == "case" else text

    def piece_text(self, token: int) -> str:
        """The text of a piece with spaces as they are and, where case is factored out, without marks.

        It has as many bytes as the piece stands for, but for a first space that decoding may drop.
        """
        text = self.pieces[token].replace(SPACE_MARK, " ")
        return without_marks(text) if self.transform == "case" else text

    def is_special(self, token: int) -> bool:
        """Tell a piece that stands for no text: a control, unknown or unused one."""
        kinds = self.processor
        return bool(kinds.is_control(token) or kinds.is_unknown(token) or kinds.is_unused(token))

    def is_byte(self, token: int) -> bool:
        """Tell a piece that stands for one byte of a character that has no piece of its own."""
        return bool(self.processor.is_byte(token))
