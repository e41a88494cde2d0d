"""One look at a whole corpus, which decides what is held out; afterwards both splits can be read again and again.

In:   a TextConfig.
Out:  a Survey: iterators over both splits, sizes, the corpus digest.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from bytecap.core.digest import digest_json
from bytecap.core.errors import DataError
from bytecap.core.progress import Progress
from bytecap.core.units import counted
from bytecap.text.config import TextConfig
from bytecap.text.corpus import DOCUMENT_LENGTH, Corpus
from bytecap.text.split import choose_validation, document_hash, refuse_shared

SHORT_DOCUMENT, MIN_DOCUMENT, PARTS = 1 << 14, 1 << 8, 32
"""Characters of a document where long ones cannot be held out; of a text that is one document alone, a part in 32."""
FINE_DOCUMENT = 1 << 12
"""Characters of a document that are proposed where a text is one document."""


@dataclass
class Survey:
    """What one pass over the corpus found; both splits can be read again from it."""

    corpus: Corpus
    held_out: Corpus | None
    validation_hashes: set[int]
    total_bytes: int
    validation_bytes: int
    order: str

    def train(self) -> Iterator[str]:
        shared = []
        for document in self.corpus.documents():
            if document_hash(document) not in self.validation_hashes:
                yield document
            elif self.held_out is not None:
                shared.append(document)
        refuse_shared(shared)

    def validation(self) -> Iterator[str]:
        """Held-out documents, each content once."""
        left = set(self.validation_hashes)
        for document in (self.held_out or self.corpus).documents():
            key = document_hash(document)
            if key in left:
                left.discard(key)
                yield document

    def digest(self) -> str:
        return digest_json([self.order, sorted(self.validation_hashes)])


def survey_corpus(config: TextConfig, progress: Progress) -> Survey:
    """One pass over the corpus, which decides what is held out; a second, with shorter documents, where it must be."""
    corpus = open_corpus(config, config.paths)
    held_out = open_corpus(config, config.validation_paths) if config.validation_paths else None
    total, order, different = 0, hashlib.sha256(), set[int]()

    def keys() -> Iterator[tuple[int, int]]:
        nonlocal total
        for document in corpus.documents():
            key, size = document_hash(document), len(document.encode())
            total += size
            if len(different) < 2:
                different.add(key)
            order.update(key.to_bytes(8, "big"))
            yield key, size

    if held_out is None:
        hashes = choose_validation(keys(), fraction=config.validation_fraction, max_bytes=config.validation_bytes)
        alone = len(different) == 1 and bool(hashes)
        if config.document_length is None and (alone or not hashes):
            length = min(max(total // PARTS, MIN_DOCUMENT), SHORT_DOCUMENT) if alone else SHORT_DOCUMENT
            return survey_corpus(dataclasses.replace(config, document_length=length), progress)
        if alone:
            finer = (
                f", or cut it finer with --set text.document_length={FINE_DOCUMENT}" if total > FINE_DOCUMENT else ""
            )
            raise DataError(
                f"{corpus.name} is one document of {counted(total, 'byte')}, which is held out, so none is left for "
                f"training; give more text{finer}"
            )
    else:
        hashes = {document_hash(document) for document in held_out.documents()}
        refuse_shared([d for d in corpus.documents() if document_hash(d) in hashes])
        for _ in keys():
            pass
    if not hashes:
        raise DataError(
            f"every document of {corpus.name} is longer than an eighth of text.validation_bytes "
            f"({config.validation_bytes:,}), so none can be held out; raise it, lower text.document_length, or name "
            "the held-out text with --set text.validation_paths"
        )
    survey = Survey(corpus, held_out, hashes, total, 0, order.hexdigest())
    survey.validation_bytes = sum(len(document.encode()) for document in survey.validation())
    progress.note(
        f"{total:,} bytes of text, {survey.validation_bytes:,} held out in {counted(len(hashes), 'document')}"
    )
    note_skipped(corpus, progress)
    return survey


def note_skipped(corpus: Corpus, progress: Progress) -> None:
    """Say how many documents the last pass left out, and why."""
    for reason, count in corpus.skipped.items():
        progress.note(f"skipped {counted(count, 'document')}: {reason}")


def tokenizer_sample(config: TextConfig, survey: Survey) -> Iterator[str]:
    """Training documents spread over the corpus, by another part of their hash, up to the sample size.

    DataError where there is none.
    """
    share = min(1.0, config.tokenizer_sample_bytes / max(survey.total_bytes, 1))
    training = sampled = 0
    for document in survey.train():
        training += 1
        if (document_hash(document) & 0xFFFFFFFF) < share * 2**32:
            sampled += 1
            yield document
    refuse_no_training(training)
    if not sampled:
        raise DataError(
            f"none of {training:,} training documents is in the sample from which the tokenizer is learned; raise "
            f"--set text.tokenizer_sample_bytes, which is {config.tokenizer_sample_bytes:,}"
        )


def refuse_no_training(documents: int) -> None:
    """Raise DataError where no document is left for training, as of a text that says the same again and again."""
    if not documents:
        raise DataError(
            "no document is left for training: each different document of this text is held out; give more text, lower "
            "--set text.validation_fraction, or cut the text finer with --set text.document_length=4096"
        )


def open_corpus(config: TextConfig, paths: tuple[str, ...]) -> Corpus:
    """The documents at `paths`, read as `config` says."""
    length = config.document_length or DOCUMENT_LENGTH
    return Corpus(paths, config.field, config.strict, keep_space_mark=config.lossy_tokenizer, document_length=length)
