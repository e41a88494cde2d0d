"""Factors of units against dictionaries, and what learning them does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bytecap.scoring.memory_mixing import Mixture, forget_document, mix, new_memory
from bytecap.scoring.memory_output import RATE, SELECTED_BY
from bytecap.scoring.memory_prior import built_in_mixture
from bytecap.scoring.memory_states import likeness
from bytecap.scoring.memory_words import read_pieces
from tests.scoring.test_memory_tables import Twin
from tests.scoring.test_memory_words import TEXTS

VOCAB, WIDTH = 40, 6
Array = npt.NDArray[np.floating]


class OutputTwin:
    """By the contexts themselves, which nothing shares."""

    def __init__(self, units: int) -> None:
        self._nothing_H = np.zeros(units)
        self._keys: list[tuple[object, ...]] = []
        self._changes: dict[tuple[object, ...], Array] = {}
        self._squares: dict[tuple[object, ...], Array] = {}

    def factors(self, twin: Twin) -> Array:
        """Behind the last token."""
        self._keys = [(place, twin.contexts[place] if place >= 0 else "all") for place in SELECTED_BY]
        return 1.0 + sum((self._changes.get(key, self._nothing_H) for key in self._keys), start=self._nothing_H)

    def learn(self, units: dict[int, Array], log_q_V: Array, token: int) -> None:
        """From what was said of a token that has come."""
        errors = {v: float(v == token) - float(np.exp(log_q_V[v])) for v in units}
        gradient_H = sum((error * units[v] for v, error in errors.items()), start=self._nothing_H)
        for key in self._keys:
            self._squares[key] = self._squares.get(key, self._nothing_H) + gradient_H**2
            step_H = RATE * gradient_H / (1 + np.sqrt(self._squares[key]))
            self._changes[key] = self._changes.get(key, self._nothing_H) + step_H


def losses(mixture: Mixture, documents: list[npt.NDArray[np.int64]], *, learns: bool) -> list[float]:
    """Mean loss of each document by a model that knows nothing, one after the other in one memory."""
    memory = new_memory(mixture, VOCAB, 400, read_pieces(TEXTS, VOCAB), learns=learns)
    found = []
    for tokens in documents:
        forget_document(memory, mixture)
        states = np.eye(WIDTH, dtype=np.float32)[tokens % WIDTH]
        like = likeness(states, np.zeros(len(tokens), np.float32), 0, len(tokens))
        log_p = np.full((len(tokens), VOCAB), -np.log(VOCAB), np.float32)
        log_q = mix(memory, mixture, like, log_p, tokens)
        found.append(-float(log_q[np.arange(len(tokens) - 1), tokens[1:]].mean()))
    return found


def backwards(mixture: Mixture) -> Mixture:
    """A mixture that takes everything for its opposite."""
    return mixture._replace(output_H=-mixture.output_H)


def test_a_wrong_mixture_is_mended_and_what_was_learned_stays() -> None:
    """Within a document, and more in the next ones; without learning each document costs the same."""
    tokens = np.tile(np.random.default_rng(0).integers(1, VOCAB, size=50), 4)
    wrong = backwards(built_in_mixture())
    fixed, learned = (losses(wrong, [tokens] * 3, learns=learns) for learns in (False, True))
    assert fixed[0] == fixed[1] == fixed[2]
    assert fixed[0] > learned[0] > learned[1] > learned[2]
    assert learned[2] < 0.8 * fixed[2]


def test_nothing_is_learned_from_a_first_token() -> None:
    """No position of its document spoke of it, and what the one before said was of another document."""
    mixture = built_in_mixture()
    one, other = np.arange(1, 30), np.arange(5, 34)
    memory = new_memory(mixture, VOCAB, 400, read_pieces(TEXTS, VOCAB), learns=True)
    losses_of_one = losses(mixture, [one], learns=True)
    assert losses(mixture, [one, other], learns=True)[0] == losses_of_one[0]
    assert memory.output.found_1[0] == 0
    memory.output.found_1[:] = 3
    forget_document(memory, mixture)
    assert memory.output.found_1[0] == 0
