"""Cheats in what surrounds the model: the bytes of tokens, the training text, the size of the file."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from bytecap.auditing.subject import ByteCounter, CountedFiles, Subject, TrainingText
from planted_cheats.base import Planted, Rng


def doubled_space(subject: Subject, rng: Rng) -> Planted:
    """A doubled space byte: the space that pieces begin with counts twice, for all of them or some."""
    counter = subject.tokenizer
    assert counter is not None
    leading = np.flatnonzero(counter.table.leading_space_V)
    share = float(rng.choice([1.0, 0.1, 0.01]))
    chosen = rng.choice(leading, size=max(1, int(share * leading.size)), replace=False)
    bytes_V = counter.table.bytes_V.copy()
    bytes_V[chosen] += 1
    table = dataclasses.replace(counter.table, bytes_V=bytes_V)
    changed = dataclasses.replace(subject, tokenizer=ByteCounter(tokenizer=counter.tokenizer, table=table))
    return Planted(changed, ("B2",), f"{chosen.size} of {leading.size} pieces")


def long_byte(subject: Subject, rng: Rng) -> Planted:
    """A piece of one byte counts three, as the letters of its name do."""
    counter = subject.tokenizer
    assert counter is not None
    byte_pieces = [token for token in range(counter.tokenizer.vocab_size) if counter.tokenizer.is_byte(token)]
    chosen = rng.choice(byte_pieces, size=int(rng.integers(1, 28)), replace=False)
    bytes_V = counter.table.bytes_V.copy()
    bytes_V[chosen] = 3
    table = dataclasses.replace(counter.table, bytes_V=bytes_V)
    changed = dataclasses.replace(subject, tokenizer=ByteCounter(tokenizer=counter.tokenizer, table=table))
    return Planted(changed, ("B3",), f"{chosen.size} pieces")


def _held_out(subject: Subject) -> list[str]:
    assert subject.text is not None and subject.text.raw is not None
    return list(subject.text.raw)


def _with_training(subject: Subject, text: str, rng: Rng) -> tuple[Subject, int]:
    """One more training document at a random place."""
    training = subject.training
    assert training is not None
    documents = list(training.documents())
    place = int(rng.integers(len(documents) + 1))
    documents.insert(place, text)
    more = TrainingText(documents=lambda: iter(documents), decoded=training.decoded)
    return dataclasses.replace(subject, training=more), place


def copied_document(subject: Subject, rng: Rng) -> Planted:
    """A held-out document in the training text."""
    held_out = _held_out(subject)
    number = int(rng.integers(len(held_out)))
    changed, place = _with_training(subject, held_out[number], rng)
    return Planted(changed, ("D1a",), f"document {number} at {place}")


def edited(text: str, rate: float, rng: Rng) -> str:
    """The text with a share of its words, at least one, replaced by other words of it, left out, or doubled."""
    words = list(re.finditer(r"\w+", text))
    chosen = set(rng.choice(len(words), size=max(1, int(rate * len(words))), replace=False).tolist())
    parts, end = [], 0
    for number, word in enumerate(words):
        parts.append(text[end : word.start()])
        end = word.end()
        other = words[int(rng.integers(len(words)))][0]
        parts.append(str(rng.choice([other, "", f"{word[0]} {other}"])) if number in chosen else word[0])
    return "".join([*parts, text[end:]])


def edited_document(subject: Subject, rng: Rng) -> Planted:
    """A held-out document in the training text, lightly edited."""
    held_out = _held_out(subject)
    long = [number for number, text in enumerate(held_out) if len(text.split()) >= 200]
    number, rate = int(rng.choice(long or range(len(held_out)))), float(rng.uniform(0.0, 0.005))
    changed, place = _with_training(subject, edited(held_out[number], rate, rng), rng)
    return Planted(changed, ("D1b",), f"document {number} at {place}, {100 * rate:.2f} % of its words")


def over_cap(subject: Subject, rng: Rng) -> Planted:
    """A file over its cap, by a byte or many."""
    files = subject.files
    assert files is not None
    more = int(rng.integers(1, 1000))
    cap = sum(path.stat().st_size for path in files.paths) - more
    changed = CountedFiles(paths=files.paths, cap_bytes=cap, reserve_bytes=files.reserve_bytes)
    return Planted(dataclasses.replace(subject, files=changed), ("A1",), f"{more} bytes over")
