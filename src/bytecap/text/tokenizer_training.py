"""A tokenizer learned from text, which gives every text back.

In:   documents.
Out:  a Tokenizer with decode(encode(s)) == s for any Unicode text without U+2581.

Source: SentencePiece (Kudo & Richardson 2018). Identity normalisation and no dummy prefix make it lossless; the
        default normaliser changes two lines in three, and bits per byte of a changed text mean nothing.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import sentencepiece

from bytecap.core.errors import DataError
from bytecap.text.case_transform import MARKS, Transform, factor_case
from bytecap.text.config import BYTE_PIECES, SPECIAL_PIECES
from bytecap.text.tokenizer import CASE_PIECE, Tokenizer

_CHUNK_CHARACTERS = 4000
_SOURCE_LINE = re.compile(r"^\w+: \S+\(\d+\) \[.*\] *")
"""Where in its own source SentencePiece stopped, which tells a user nothing."""
_COVERAGE = 0.9995
"""Share of the text whose characters get pieces of their own; SentencePiece's default."""


def train_tokenizer(documents: Iterable[str], vocab_size: int, transform: Transform = "none") -> Tokenizer:
    """Learn a byte-fallback BPE tokenizer of at most `vocab_size` pieces; DataError where the text has too few.

    Ids as in the contest's tokenizers: PAD 0, BOS 1, EOS 2, UNK 3, bytes 4 to 259, then merges. With the transform
    "case" it learns from text whose case is factored out, every mark has a piece, and PAD is called `<transform:case>`.
    """
    special = dict[str, Any]()
    if transform == "case":
        documents = map(factor_case, documents)
        special = {"required_chars": "".join(MARKS), "pad_piece": CASE_PIECE}
    out, chunks = io.BytesIO(), list(_chunks(documents))
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_frequent_characters(chunks, vocab_size)),
            model_writer=out,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            max_sentence_length=1 << 20,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            num_threads=1,
            minloglevel=2,
            **special,
        )
    except RuntimeError as error:
        said = _SOURCE_LINE.sub("", str(error).splitlines()[-1])
        raise DataError(
            f"no tokenizer of {vocab_size} pieces can be learned from {sum(map(len, chunks)):,} characters of training "
            f"text{f' ({said})' if said else ''}; give more text or lower --set text.vocab_size"
        ) from error
    return Tokenizer.from_bytes(out.getvalue(), origin="the tokenizer trained on this text")


def _chunks(documents: Iterable[str]) -> Iterator[str]:
    """Whole lines, a few thousand characters at a time: newlines stay inside, so that pieces may hold them."""
    for document in documents:
        kept = ""
        for line in document.splitlines(keepends=True):
            if kept and len(kept) + len(line) > _CHUNK_CHARACTERS:
                yield kept
                kept = ""
            kept += line[: 1 << 18]
        if kept:
            yield kept


def _frequent_characters(chunks: list[str], vocab_size: int) -> list[str]:
    """The chunks, cut at rare characters where a text of many scripts has more characters than the vocabulary can hold.

    SentencePiece wants a piece for each character that covers the text. Half of the merges' places are left to
    characters; the others are written as bytes.
    """
    counts: Counter[str] = Counter()
    for chunk in chunks:
        counts.update(chunk)
    places = (vocab_size - SPECIAL_PIECES - BYTE_PIECES) // 2
    frequent = counts.most_common(places)
    if len(counts) <= places or sum(count for _, count in frequent) >= _COVERAGE * counts.total():
        return chunks
    others = re.compile("[^" + re.escape("".join(character for character, _ in frequent)) + "]+")
    return [part for chunk in chunks for part in others.split(chunk) if part]
