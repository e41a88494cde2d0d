"""A tokenizer as GGUF has it: texts, scores and kinds of tokens, from which llama.cpp cuts texts in a way of its own.

In:   a SentencePiece tokenizer of ours, or the tokenizer.json of a Hugging Face folder.
Out:  a Vocabulary, and what llama.cpp would make of a text with it.

Source:  llm_tokenizer_spm of ggml-org/llama.cpp (src/llama-vocab.cpp).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bytecap.core.files import parse_json
from bytecap.export.source import ExportSource
from bytecap.export.tokenizer_files import TEXTS
from bytecap.huggingface.model import attached_folder
from bytecap.huggingface.tokenizer import HuggingFaceTokenizer
from bytecap.text.tokenizer import SPACE_MARK, Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens."""
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
_OTHERS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CUTS = {f"{_LETTERS}{{1,3}}{_OTHERS}": "llama-bpe", f"{_LETTERS}{_OTHERS}": "qwen2"}
"""Ways to cut words, by the expression that a `tokenizer.json` gives: those of Llama 3 and of Qwen 2 and 3."""


@dataclass(frozen=True)
class Vocabulary:
    """What the file says of its tokens; the model's own ids, so tokens outside of it need no table."""

    texts: list[str]
    scores: list[float]
    kinds: list[int]
    special: dict[str, int]
    """Ids of `bos`, `eos`, `unk` and `pad`, those that there are."""
    merges: list[str] = field(default_factory=list)
    """Pairs that are joined, best first, where tokens are spelled in bytes as GPT-2's are; then there are no scores."""
    cut: str = "default"
    """What llama.cpp calls the way in which words are cut before anything is joined."""
    begins: bool = True
    """A text begins with BOS."""
    space_first: bool = False
    """A space is put before a text."""

    @property
    def model(self) -> str:
        """What llama.cpp calls the kind of tokenizer."""
        return "gpt2" if self.merges else "llama"

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids by text."""
        return {text: token for token, text in enumerate(self.texts)}

    def encode(self, text: str) -> list[int]:
        """The tokens that llama.cpp makes of a text, written out: the neighbours with the best score are joined first.

        Where tokens have scores, and a text holds no special token.
        """
        symbols = list((" " * (self.space_first and text != "") + text).replace(" ", SPACE_MARK))
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
        """Return whether texts full of what tokenizers differ in have the tokens that `encode` gives."""
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


def find_vocabulary(source: ExportSource) -> Vocabulary | None:
    """The tokens of a file's tokenizer; None where it has none, or llama.cpp would cut texts in another way."""
    if not source.is_hugging_face:
        return sentencepiece_vocabulary(source.tokenizer)
    data = source.artifact.attached.get("tokenizer.json")
    if data is None:
        return None
    with attached_folder(source.artifact) as folder:
        tokenizer = HuggingFaceTokenizer.read(folder, "the file", trust_code=source.trust_code)
    return json_vocabulary(parse_json(data), tokenizer, source.vocab_size)


def json_vocabulary(table: Any, tokenizer: HuggingFaceTokenizer, count: int) -> Vocabulary | None:
    """The tokens of a `tokenizer.json` whose model is byte pairs; None for any other, and where words are cut oddly."""
    model = table.get("model", {})
    if model.get("type") != "BPE":
        return None
    added = {entry["content"]: entry for entry in table.get("added_tokens", [])}
    ids = {**model["vocab"], **{text: entry["id"] for text, entry in added.items()}}
    texts = [f"[UNUSED{token}]" for token in range(max(count, 1 + max(ids.values())))]
    for text, token in ids.items():
        texts[token] = text
    library = tokenizer.library_object
    named = {kind: getattr(library, f"{kind}_token_id", None) for kind in ("bos", "eos", "unk", "pad")}
    special = {kind: token for kind, token in named.items() if isinstance(token, int)}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    begins = library.encode("a")[:1] == [named["bos"]]
    kinds = [
        _kind(text, token in ids.values(), added.get(text), special.get("unk") == token)
        for token, text in enumerate(texts)
    ]
    if (cut := _byte_level_cut(table)) is not None:
        return Vocabulary(texts, [], kinds, special, merges, cut, begins)
    ranks = {"".join(pair.split(" ")): -float(rank) for rank, pair in reversed(list(enumerate(merges)))}
    scores = [ranks.get(text, -float(len(merges))) for text in texts]
    for space_first in (True, False):
        found = Vocabulary(texts, scores, kinds, special, [], "default", begins, space_first)
        if found.gives(tokenizer.encode):
            return found
    return None


def _kind(text: str, is_known: bool, added: Any, is_unknown: bool) -> int:
    if is_unknown:
        return UNKNOWN
    if added is not None:
        return CONTROL if added.get("special") else USER_DEFINED
    if not is_known:
        return UNUSED
    return BYTE if _BYTE.fullmatch(text) else NORMAL


def _byte_level_cut(table: Any) -> str | None:
    """The name of a way to cut words that llama.cpp has too, of a tokenizer whose tokens are spelled in bytes."""
    steps = table.get("pre_tokenizer") or {}
    steps = steps["pretokenizers"] if steps.get("type") == "Sequence" else [steps]
    if (
        not steps
        or steps[-1].get("type") != "ByteLevel"
        or steps[-1].get("add_prefix_space")
        or table.get("normalizer")
    ):
        return None
    if len(steps) == 1:
        return "gpt-2" if steps[0].get("use_regex", True) else None
    pattern = steps[0].get("pattern", {}).get("Regex") if len(steps) == 2 and steps[0].get("type") == "Split" else None
    return CUTS.get(str(pattern))
