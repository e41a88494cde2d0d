"""Scores that break a rule, made from honest ones: one known cheat, its place, offset, strength drawn at random.

In:   a Subject that breaks no rule, a random generator.
Out:  the Subject with one cheat in it, the rules by which it must be caught, and what was drawn.

Letters: T positions of a chunk, V vocabulary, N tokens of a stream.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bytecap.auditing.subject import ByteCounter, CountedFiles, Ids, Subject, TrainingText
from bytecap.scoring.windows import Window

Rng = np.random.Generator


@dataclass(frozen=True)
class Planted:
    """A subject with a cheat in it."""

    subject: Subject
    caught_by: tuple[str, ...]
    """Rules of which at least one must be found broken."""
    drawn: str
    """Place, offset and strength."""


@dataclass(frozen=True)
class Places:
    """The positions of a stream at which a cheat works: every `period`-th, from `phase` on."""

    period: int
    phase: int

    @classmethod
    def draw(cls, rng: Rng) -> Places:
        """From every position to one in sixteen."""
        period = int(rng.choice([1, 2, 4, 8, 16]))
        return cls(period, int(rng.integers(period)))

    def among(self, begin: int, count: int) -> Tensor:
        """True where it works, of `count` positions from `begin` on."""
        return torch.arange(begin, begin + count) % self.period == self.phase


class Wrapped:
    """A Predictor around an honest one: it passes everything on, and knows where it is in the stream."""

    def __init__(self, honest: Any) -> None:
        self.honest, self.vocab_size, self.at = honest, honest.vocab_size, 0
        self.past_N = torch.zeros(0, dtype=torch.int64)

    def reset(self) -> None:
        """Passed on."""
        self.honest.reset()
        self.at, self.past_N = 0, self.past_N[:0]

    def log_probs(self, tokens_T: Tensor) -> Tensor:
        """What the honest one says, changed."""
        before = self.at
        self.past_N = torch.cat([self.past_N, tokens_T])
        self.at += len(tokens_T)
        return self.changed(self.honest.log_probs(tokens_T), tokens_T, before)

    def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
        """The cheat; `before` tokens were read earlier."""
        return log_probs_TV

    def learn(self, scored: Any) -> None:
        """Passed on."""
        self.honest.learn(scored)


def _with_model(subject: Subject, wrap: Callable[[Any], Any]) -> Subject:
    """The subject with another model around its own."""
    model = subject.model
    assert model is not None
    honest = model.make
    return dataclasses.replace(subject, model=dataclasses.replace(model, make=lambda: wrap(honest())))


def _mixed(log_probs_TV: Tensor, other_TV: Tensor, share_T1: Tensor) -> Tensor:
    """(1 - share) p + share · other, normalized where both are."""
    return ((1 - share_T1) * log_probs_TV.double().exp() + share_T1 * other_TV.double()).log()


def _strength(rng: Rng, low: float = 1e-3, high: float = 0.5) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def future_token(subject: Subject, rng: Rng) -> Planted:
    """A model that reads one future token."""
    offset, places, strength = int(rng.integers(1, 4)), Places.draw(rng), _strength(rng)

    class Reads(Wrapped):
        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            shown = len(tokens_T) - offset
            if shown <= 0:
                return log_probs_TV
            other_TV = torch.nn.functional.one_hot(tokens_T[offset:], self.vocab_size)
            share_T1 = strength * places.among(before, shown)[:, None].double()
            return torch.cat([_mixed(log_probs_TV[:shown], other_TV, share_T1), log_probs_TV[shown:].double()])

    return Planted(
        _with_model(subject, Reads), ("C1a", "C1b", "C1c"), f"offset {offset}, {places}, strength {strength:.4f}"
    )


def target_gate(subject: Subject, rng: Rng) -> Planted:
    """A gate that looks at its target: the distribution is sharpened where the target has a property."""
    modulus, places, strength = int(rng.integers(2, 5)), Places.draw(rng), _strength(rng)
    remainder = int(rng.integers(modulus))

    class Gate(Wrapped):
        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            target_T = torch.cat([tokens_T[1:], torch.full((1,), -1)])  # the last one was not shown
            opens_T = places.among(before, len(tokens_T)) & (target_T >= 0) & (target_T % modulus == remainder)
            scale_T1 = 1.0 + strength * opens_T[:, None].double()
            return (log_probs_TV.double() * scale_T1).log_softmax(dim=-1)

    drawn = f"target % {modulus} == {remainder}, {places}, strength {strength:.4f}"
    return Planted(_with_model(subject, Gate), ("C1a", "C1b", "C1c"), drawn)


def smear(subject: Subject, rng: Rng) -> Planted:
    """A smear across documents: the last tokens of one document leak into the first positions of the next."""
    reach, back, strength = int(rng.integers(1, 9)), int(rng.integers(1, 4)), _strength(rng)
    assert subject.model is not None
    bos = subject.model.bos

    class Smears(Wrapped):
        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            begins = torch.nonzero(self.past_N == bos).flatten().tolist()
            rows_TV = log_probs_TV.double()
            for row, position in enumerate(range(before, self.at)):
                begin = max((at for at in begins if at <= position), default=0)
                if begin >= back and position - begin < reach:
                    leaked = int(self.past_N[begin - back])
                    wave_V = torch.cos(torch.arange(self.vocab_size, dtype=torch.float64) * (leaked + 1))
                    rows_TV[row] += strength * wave_V
            return rows_TV.log_softmax(dim=-1)

    drawn = f"token {back} before BOS, the first {reach} positions, strength {strength:.4f}"
    return Planted(_with_model(subject, Smears), ("S1",), drawn)


def early_adapter(subject: Subject, rng: Rng) -> Planted:
    """An adapter trained before scoring: a bias takes gradient steps on the very chunk that is then scored."""
    steps, rate, first_chunk = int(rng.integers(1, 6)), _strength(rng, 0.01, 2.0), int(rng.integers(0, 3))

    class Adapts(Wrapped):
        def reset(self) -> None:
            super().reset()
            self.bias_V, self.chunks = torch.zeros(self.vocab_size, dtype=torch.float64), 0

        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            self.chunks += 1
            rows_TV = log_probs_TV.double()
            if self.chunks > first_chunk and len(tokens_T) > 1:
                seen_V = torch.bincount(tokens_T[1:], minlength=self.vocab_size).double() / (len(tokens_T) - 1)
                for _ in range(steps):
                    given_V = (rows_TV[:-1] + self.bias_V).softmax(dim=-1).mean(dim=0)
                    self.bias_V = self.bias_V + rate * (seen_V - given_V)
            return (rows_TV + self.bias_V).log_softmax(dim=-1)

    drawn = f"{steps} steps of rate {rate:.3f} from chunk {first_chunk + 1} on"
    return Planted(_with_model(subject, Adapts), ("C1a", "C1b", "C1c"), drawn)


def first_pass(subject: Subject, rng: Rng) -> Planted:
    """A second pass: what a first pass over the text has counted survives the reset, and the second is scored."""
    strength = _strength(rng)

    class Remembers(Wrapped):
        def __init__(self, honest: Any) -> None:
            super().__init__(honest)
            self.counts_V = torch.zeros(self.vocab_size, dtype=torch.float64)
            self.old_V = self.counts_V

        def reset(self) -> None:
            super().reset()
            self.old_V = self.counts_V.clone()

        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            self.counts_V += torch.bincount(tokens_T, minlength=self.vocab_size)
            if not self.old_V.sum():
                return log_probs_TV
            return _mixed(log_probs_TV, self.old_V / self.old_V.sum(), torch.tensor(strength))

    return Planted(_with_model(subject, Remembers), ("C3", "A5"), f"strength {strength:.4f}")


def loose_cache(subject: Subject, rng: Rng) -> Planted:
    """A cache that does not sum to one: it adds to the tokens that were read, and takes from none."""
    window, places, strength = int(rng.integers(1, 65)), Places.draw(rng), _strength(rng, 1e-4, 1.0)

    class Cache(Wrapped):
        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            p_TV = log_probs_TV.double().exp()
            for row in torch.nonzero(places.among(before, len(tokens_T))).flatten().tolist():
                recent = self.past_N[max(0, before + row + 1 - window) : before + row + 1]
                p_TV[row, torch.bincount(recent, minlength=self.vocab_size) > 0] += strength
            return p_TV.log()

    return Planted(_with_model(subject, Cache), ("C2a",), f"{window} tokens, {places}, strength {strength:.5f}")


def second_file(subject: Subject, rng: Rng) -> Planted:
    """A second file that is read: when the model is made, at a reset, or at some chunk."""
    assert subject.files is not None
    when = str(rng.choice(["made", "reset", "asked"]))
    how = str(rng.choice(["open", "numpy", "mapped"]))
    chunk = int(rng.integers(1, 5))
    path = subject.files.paths[0].with_name(f"table-{int(rng.integers(1 << 30))}.npy")
    np.save(path, rng.random(int(rng.integers(1, 5000))))

    class Opens(Wrapped):
        def __init__(self, honest: Any) -> None:
            super().__init__(honest)
            self.chunks = 0
            self.read(when == "made")

        def reset(self) -> None:
            super().reset()
            self.read(when == "reset")

        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            self.chunks += 1
            self.read(when == "asked" and self.chunks == chunk)
            return log_probs_TV

        def read(self, now: bool) -> None:
            if now and how == "open":
                path.read_bytes()
            elif now:
                np.load(path, mmap_mode="r" if how == "mapped" else None)

    return Planted(_with_model(subject, Opens), ("A2",), f"{how} when {when}, chunk {chunk}")


def _with_plan(subject: Subject, plan: Callable[[Ids, int], Iterator[Window]]) -> Subject:
    assert subject.model is not None
    return dataclasses.replace(subject, model=dataclasses.replace(subject.model, plan=plan))


def tail_twice(subject: Subject, rng: Rng) -> Planted:
    """A tail scored twice: the last window of the text, or of a part of it, goes over positions that were scored."""
    assert subject.model is not None
    honest, again, at_end = subject.model.plan, int(rng.integers(1, 64)), bool(rng.integers(2))
    place = float(rng.random())

    def plan(tokens_N: Ids, bos: int) -> Iterator[Window]:
        planned = list(honest(tokens_N, bos))
        number = len(planned) - 1 if at_end else int(place * len(planned))
        for i, window in enumerate(planned):
            if i == number:
                more = min(again, window.skip) or min(again, window.start)
                skip = window.skip - more if window.skip >= more else window.skip
                start = window.start if window.skip >= more else window.start - more
                yield Window(start, window.start + window.length - start, skip)
                if len(planned) == 1:
                    yield window
            else:
                yield window

    return Planted(
        _with_plan(subject, plan), ("C4",), f"{again} positions again, {'tail' if at_end else f'at {place:.2f}'}"
    )


def length_order(subject: Subject, rng: Rng) -> Planted:
    """An order chosen by length: documents are scored the longest first, or the shortest."""
    longest, chunk = bool(rng.integers(2)), int(rng.integers(16, 129))

    def by_length(tokens_N: Ids, bos: int, sign: int) -> list[tuple[int, int]]:
        edges = [0, *(int(at) - 1 for at in np.flatnonzero(tokens_N == bos) if at > 1), len(tokens_N) - 1]
        documents = [(begin, end) for begin, end in itertools.pairwise(edges) if end > begin]
        return sorted(documents, key=lambda document: sign * (document[1] - document[0]))

    def plan(tokens_N: Ids, bos: int) -> Iterator[Window]:
        ordered = by_length(tokens_N, bos, -1 if longest else 1)
        if ordered == sorted(ordered):  # the text stands in this order by itself: no cheat, so the other one is taken
            ordered = by_length(tokens_N, bos, 1 if longest else -1)
        for begin, end in ordered:
            for start in range(begin, end, chunk):
                yield Window(start, min(chunk, end - start), 0)

    drawn = f"{'longest' if longest else 'shortest'} first, chunks of {chunk}"
    return Planted(_with_plan(subject, plan), ("G1",), drawn)


def future_chunks(subject: Subject, rng: Rng) -> Planted:
    """Chunks as long as a document to come asks for."""
    parts = int(rng.integers(2, 9))

    def plan(tokens_N: Ids, bos: int) -> Iterator[Window]:
        begins = np.flatnonzero(tokens_N == bos)
        longest = int(np.diff([*begins, len(tokens_N)]).max()) if begins.size else len(tokens_N)
        chunk = max(1, longest // parts)
        for start in range(0, len(tokens_N) - 1, chunk):
            yield Window(start, min(chunk, len(tokens_N) - 1 - start), 0)

    return Planted(_with_plan(subject, plan), ("G2",), f"the longest document in {parts} chunks")


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


CHEATS: dict[str, Callable[[Subject, Rng], Planted]] = {
    plant.__name__: plant
    for plant in (
        future_token, target_gate, smear, early_adapter, first_pass, loose_cache, tail_twice, length_order,
        future_chunks, second_file, over_cap, doubled_space, long_byte, copied_document, edited_document,
    )
}  # fmt: skip
"""Every cheat by its name."""


def clean_up(folder: Path) -> None:
    """Remove the tables that `second_file` has left."""
    for path in folder.glob("table-*.npy"):
        path.unlink()
