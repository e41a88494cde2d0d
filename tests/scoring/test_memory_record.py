"""What is kept of a document's predictions, against sums and averages over all that came."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bytecap.scoring.memory_candidates import N_FEATURES, N_OWN
from bytecap.scoring.memory_mixing import forget_document, new_memory, run_rows
from bytecap.scoring.memory_prior import built_in_mixture
from bytecap.scoring.memory_record import BEGIN_J, MATCH_RATE, MATCH_RIGHT, NOT_SIMILAR, RATE
from bytecap.scoring.memory_states import likeness
from bytecap.scoring.memory_tables import N_CONTEXTS, ORDERS
from bytecap.scoring.memory_words import read_pieces
from tests.scoring.test_memory_tables import Twin
from tests.scoring.test_memory_words import TEXTS

Array = npt.NDArray[np.floating]


class RecordTwin:
    """Goes by the definition, in lists."""

    def __init__(self, vocab_size: int) -> None:
        self.averages = [float(value) for value in BEGIN_J]
        self.expected = [0.0] * vocab_size
        self.said = [0.0]
        """The model's log probability of each token when it came."""

    def note(self, twin: Twin, candidates: dict[int, float], log_p: Array, token: int) -> None:
        """A token came where the model said `log_p`; candidates with their feature of like states."""
        seen: list[float | None] = [min(-float(log_p[token]), 20) / 4, token not in twin.history, token in candidates]
        self.said.append(max(float(log_p[token]), -20))
        for place in range(N_CONTEXTS):
            followers = twin.followers(place)
            seen.append(followers[-1] == token if followers else None)
        seen.append(twin.history[twin.pointer] == token if twin.pointer >= 0 else None)
        seen.append(candidates.get(token, NOT_SIMILAR))
        for place, value in enumerate(seen):
            if value is not None:
                rate = MATCH_RATE if place == MATCH_RIGHT else RATE
                self.averages[place] += rate * (float(value) - self.averages[place])

    def features(self, twin: Twin, token: int) -> list[float]:
        """Of a candidate."""
        expected, history = self.expected[token], twin.history
        found = [math.log((history.count(token) + 0.5) / (expected + 0.5)), math.log(expected + 0.1)]
        for order in ORDERS[:2]:
            context = history[-order:]
            places = [
                j for j in range(order, len(history)) if history[j] == token and history[j - order : j] == context
            ]
            found.append(3 - math.log(len(history) - places[-1]) / 2 if len(history) >= order and places else 0.0)
        relative = twin.relative(token)
        came = history.count(relative)
        last = max((i for i, seen in enumerate(history) if seen == relative), default=-1)
        more = math.log((came + 0.5) / (self.expected[relative] + 0.5)) if relative >= 0 else 0.0
        found += [math.log(came + 1), more, math.log(len(history) - last) / 3]
        return found + self.said_of(twin, token)

    def said_of(self, twin: Twin, token: int) -> list[float]:
        """What the model said of the token where it followed the last context, where the match is, and lately."""
        history = twin.history
        uses = [i for i, seen in enumerate(history) if seen == token]
        places = [
            [i for i in twin.places.get(context, []) if history[i] == token] for context in twin.contexts if context
        ]
        followed = [i[-1] for i in places if i] or uses[-1:]
        predicted = twin.pointer >= 0 and history[twin.pointer] == token
        return [
            self.said[followed[-1]] if followed else 0.0,
            self.said[twin.pointer] if predicted else 0.0,
            self.said[uses[-1]] if uses else 0.0,
        ]


def test_averages_and_expected_counts() -> None:
    """Position by position, with the candidates that the compiled code finds."""
    random = np.random.default_rng(0)
    vocab, length = 12, 80
    tokens = np.tile(random.integers(vocab, size=length // 2), 2)
    logits = random.normal(0, 2, (length, vocab)).astype(np.float32)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    states = np.eye(8, dtype=np.float32)[random.integers(8, size=length)]
    mixture = built_in_mixture()
    memory = new_memory(mixture, vocab, length, read_pieces(TEXTS, vocab))
    twin, record = Twin(TEXTS[:vocab]), RecordTwin(vocab)
    forget_document(memory, mixture)
    like = likeness(states, np.zeros(length, np.float32), 0, length)
    candidates: dict[int, float] = {}
    for t, token in enumerate(tokens.tolist()):
        if t:
            record.note(twin, candidates, log_p[t - 1], token)
        twin.absorb(token)
        found = run_rows(memory, mixture, like, t, log_p[t : t + 1], np.zeros((0, vocab)), tokens[t : t + 1])
        np.testing.assert_allclose(memory.record.average_J, record.averages, atol=1e-4)
        rows = {int(memory.work.token_M[m]): memory.work.feature_MF[m] for m in range(found)}
        for candidate, row in rows.items():
            np.testing.assert_allclose(row[N_OWN:N_FEATURES], record.features(twin, candidate), atol=1e-4)
        candidates = {candidate: float(row[N_OWN - 4]) for candidate, row in rows.items()}
        record.expected = [e + math.exp(p) for e, p in zip(record.expected, log_p[t].tolist(), strict=True)]
        memory.record.expected_V[:] += np.exp(log_p[t])
    forget_document(memory, mixture)
    assert memory.record.average_J.tolist() == BEGIN_J.tolist() and not memory.record.expected_V.any()
