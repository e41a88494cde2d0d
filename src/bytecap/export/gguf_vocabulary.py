"""A tokenizer as GGUF has it: texts, scores and kinds of tokens, from which llama.cpp cuts texts in a way of its own.

In:   a SentencePiece tokenizer of ours.
Out:  a Vocabulary, and what llama.cpp would make of a text with it.

Source:  llm_tokenizer_spm of ggml-org/llama.cpp (src/llama-vocab.cpp).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from bytecap.export.tokenizer_files import TEXTS
from bytecap.text.tokenizer import SPACE_MARK, Tokenizer

NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6
"""Kinds of tokens."""


@dataclass(frozen=True)
class Vocabulary:
    """What the file says of its tokens; the model's own ids, so tokens outside of it need no table."""

    texts: list[str]
    scores: list[float]
    kinds: list[int]
    special: dict[str, int]
    """Ids of `bos`, `eos`, `unk` and `pad`, those that there are."""

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids by text."""
        return {text: token for token, text in enumerate(self.texts)}

    def encode(self, text: str) -> list[int]:
        """The tokens that llama.cpp makes of a text, written out: the neighbours with the best score are joined first.

        Where no space is put in front, and a text holds no special token.
        """
        symbols = list(text.replace(" ", SPACE_MARK))
        while True:
            joined = [left + right for left, right in itertools.pairwise(symbols)]
            known = [(self.scores[self.ids[both]], -place) for place, both in enumerate(joined) if both in self.ids]
            if not known:
                break
            place = -max(known)[1]
            symbols[place : place + 2] = [joined[place]]
        return [token for symbol in symbols for token in self._tokens(symbol)]

    def _tokens(self, symbol: str) -> list[int]:
        if symbol in self.ids:
            return [self.ids[symbol]]
        return [self.ids.get(f"<0x{byte:02X}>", self.special.get("unk", 0)) for byte in symbol.encode()]

    def gives(self, encode: Callable[[str], list[int]]) -> bool:
        """Tell whether texts full of what tokenizers differ in have the tokens that `encode` gives."""
        return all(self.encode(text) == encode(text) for text in TEXTS)


def sentencepiece_vocabulary(tokenizer: Tokenizer) -> Vocabulary | None:
    """The tokens of a tokenizer of ours; None where llama.cpp would cut texts in another way."""
    pieces = tokenizer.processor

    def kind(token: int) -> int:
        if pieces.is_byte(token):
            return BYTE
        if pieces.is_unknown(token):
            return UNKNOWN
        return CONTROL if pieces.is_control(token) else UNUSED if pieces.is_unused(token) else NORMAL

    named = {"bos": pieces.bos_id(), "eos": pieces.eos_id(), "unk": pieces.unk_id(), "pad": pieces.pad_id()}
    count = range(tokenizer.vocab_size)
    found = Vocabulary(
        texts=list(tokenizer.pieces),
        scores=[float(pieces.get_score(token)) for token in count],
        kinds=[kind(token) for token in count],
        special={name: token for name, token in named.items() if token >= 0},
    )
    return found if tokenizer.transform == "none" and found.gives(tokenizer.encode) else None
