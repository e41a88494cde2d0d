"""A SentencePiece tokenizer as bytecap uses it, with capitals factored out where the tokenizer asks for that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import sentencepiece
from transformers import PreTrainedTokenizer

from bytecap.text.case_transform import factor_case, restore_case

CASE_PIECE = "<transform:case>"


class BytecapTokenizer(PreTrainedTokenizer):
    """Ids are those of the `.model` file; a text begins with BOS unless `add_special_tokens=False`."""

    vocab_files_names = {"vocab_file": "tokenizer.model"}  # noqa: RUF012  (as the base class has it)
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, vocab_file: str, **others: Any) -> None:
        self.vocab_file = vocab_file
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=vocab_file)
        self.has_case = self.pieces.piece_to_id(CASE_PIECE) != self.pieces.unk_id()
        ids = {"bos": self.pieces.bos_id(), "eos": self.pieces.eos_id(), "unk": self.pieces.unk_id()}
        for kind, token in ids.items():
            if token >= 0:
                others.setdefault(f"{kind}_token", self.pieces.id_to_piece(token))
        super().__init__(**others)

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""
        return int(self.pieces.get_piece_size())

    def get_vocab(self) -> dict[str, int]:
        """Ids by piece."""
        return {self.pieces.id_to_piece(token): token for token in range(self.vocab_size)}

    def tokenize(  # type: ignore[override]  # as in the library's own classes
        self, text: str, **kwargs: Any
    ) -> list[str]:
        """Pieces of a text; nothing in it is taken for a special token."""
        return list(self.pieces.encode(factor_case(text) if self.has_case else text, out_type=str))

    def _convert_token_to_id(self, token: str) -> int:
        return int(self.pieces.piece_to_id(token))

    def _convert_id_to_token(self, index: int) -> str:
        return str(self.pieces.id_to_piece(index))

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text that pieces stand for."""
        text = str(self.pieces.decode(tokens))
        return restore_case(text) if self.has_case else text

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """BOS before a text."""
        return [self.pieces.bos_id(), *token_ids_0, *(token_ids_1 or [])]

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        """The `.model` file."""
        path = Path(save_directory) / f"{filename_prefix + '-' if filename_prefix else ''}tokenizer.model"
        if path.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, path)
        return (str(path),)
