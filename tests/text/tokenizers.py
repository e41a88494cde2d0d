"""Tokenizers of other people's making: any settings of SentencePiece, learned from a text of the test's own."""

import io
from typing import Any

import sentencepiece

from bytecap.text.tokenizer import Tokenizer

LOSSLESS = {
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "allow_whitespace_only_pieces": True,
}
"""How tokenizers are made here."""
LLAMA = {**LOSSLESS, "add_dummy_prefix": True}
"""Every text comes back, but its first piece begins with a space that is not in the text."""
CONTEST: dict[str, Any] = {
    "normalization_rule_name": "nmt_nfkc",
    "add_dummy_prefix": True,
    "remove_extra_whitespaces": True,
}
"""As the contest's tokenizers: texts are normalised and stripped, so many do not come back."""


def make_tokenizer(text: str, **settings: Any) -> Tokenizer:
    """A small byte-fallback BPE tokenizer; lossless unless `settings` say otherwise."""
    out = io.BytesIO()
    wanted = {
        **LOSSLESS, "vocab_size": 300, "byte_fallback": True, "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3,
        **settings,
    }  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text]), model_writer=out, model_type="bpe", hard_vocab_limit=False,
        max_sentence_length=1 << 20, num_threads=1, minloglevel=2, **wanted,
    )  # fmt: skip
    return Tokenizer.from_bytes(out.getvalue())
