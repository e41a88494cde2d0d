"""Cheats in how a model answers: it sees what is to come, remembers what it should not, or sums to more than one.

Letters: T positions of a chunk, V vocabulary, N tokens of a stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bytecap.auditing.subject import Subject
from planted_cheats.base import Places, Planted, Rng, Wrapped, draw_strength, with_model


def _mixed(log_probs_TV: Tensor, other_TV: Tensor, share_T1: Tensor) -> Tensor:
    """(1 - share) p + share · other, normalized where both are."""
    return ((1 - share_T1) * log_probs_TV.double().exp() + share_T1 * other_TV.double()).log()


def future_token(subject: Subject, rng: Rng) -> Planted:
    """A model that reads one future token."""
    offset, places, strength = int(rng.integers(1, 4)), Places.draw(rng), draw_strength(rng)

    class Reads(Wrapped):
        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            shown = len(tokens_T) - offset
            if shown <= 0:
                return log_probs_TV
            other_TV = torch.nn.functional.one_hot(tokens_T[offset:], self.vocab_size)
            share_T1 = strength * places.among(before, shown)[:, None].double()
            return torch.cat([_mixed(log_probs_TV[:shown], other_TV, share_T1), log_probs_TV[shown:].double()])

    return Planted(
        with_model(subject, Reads), ("C1a", "C1b", "C1c"), f"offset {offset}, {places}, strength {strength:.4f}"
    )


def target_gate(subject: Subject, rng: Rng) -> Planted:
    """A gate that looks at its target: the distribution is sharpened where the target has a property."""
    modulus, places, strength = int(rng.integers(2, 5)), Places.draw(rng), draw_strength(rng)
    remainder = int(rng.integers(modulus))

    class Gate(Wrapped):
        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            target_T = torch.cat([tokens_T[1:], torch.full((1,), -1)])  # the last one was not shown
            opens_T = places.among(before, len(tokens_T)) & (target_T >= 0) & (target_T % modulus == remainder)
            scale_T1 = 1.0 + strength * opens_T[:, None].double()
            return (log_probs_TV.double() * scale_T1).log_softmax(dim=-1)

    drawn = f"target % {modulus} == {remainder}, {places}, strength {strength:.4f}"
    return Planted(with_model(subject, Gate), ("C1a", "C1b", "C1c"), drawn)


def smear(subject: Subject, rng: Rng) -> Planted:
    """A smear across documents: the last tokens of one document leak into the first positions of the next."""
    reach, back, strength = int(rng.integers(1, 9)), int(rng.integers(1, 4)), draw_strength(rng)
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
    return Planted(with_model(subject, Smears), ("S1",), drawn)


def early_adapter(subject: Subject, rng: Rng) -> Planted:
    """An adapter trained before scoring: a bias takes gradient steps on the very chunk that is then scored."""
    steps, rate, first_chunk = int(rng.integers(1, 6)), draw_strength(rng, 0.01, 2.0), int(rng.integers(0, 3))

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
    return Planted(with_model(subject, Adapts), ("C1a", "C1b", "C1c"), drawn)


def first_pass(subject: Subject, rng: Rng) -> Planted:
    """A second pass: what a first pass over the text has counted survives the reset, and the second is scored."""
    strength = draw_strength(rng)

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

    return Planted(with_model(subject, Remembers), ("C3", "A5"), f"strength {strength:.4f}")


def loose_cache(subject: Subject, rng: Rng) -> Planted:
    """A cache that does not sum to one: it adds to the tokens that were read, and takes from none."""
    window, places, strength = int(rng.integers(1, 65)), Places.draw(rng), draw_strength(rng, 1e-4, 1.0)

    class Cache(Wrapped):
        def changed(self, log_probs_TV: Tensor, tokens_T: Tensor, before: int) -> Tensor:
            p_TV = log_probs_TV.double().exp()
            for row in torch.nonzero(places.among(before, len(tokens_T))).flatten().tolist():
                recent = self.past_N[max(0, before + row + 1 - window) : before + row + 1]
                p_TV[row, torch.bincount(recent, minlength=self.vocab_size) > 0] += strength
            return p_TV.log()

    return Planted(with_model(subject, Cache), ("C2a",), f"{window} tokens, {places}, strength {strength:.5f}")


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

    return Planted(with_model(subject, Opens), ("A2",), f"{how} when {when}, chunk {chunk}")
