"""The mixture against one written out with dictionaries and lists."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from bytecap.scoring.memory_candidates import (
    CANDIDATES,
    LIKELIEST,
    MAX_NATS,
    N_FEATURES,
    N_OWN,
    N_PLACE,
    PER_CONTEXT,
)
from bytecap.scoring.memory_earlier import N_EARLIER, N_EARLIER_PLACE, EarlierDocuments
from bytecap.scoring.memory_mixing import MAX_BOOST, Mixture, forget_document, mix, new_memory
from bytecap.scoring.memory_record import USE_CLASSES
from bytecap.scoring.memory_states import (
    ALIGNMENT_MEMORY,
    MIN_ALIGNMENT,
    MIN_COSINE,
    NEAREST,
    SHARPNESS,
    STATES,
    likeness,
)
from bytecap.scoring.memory_tables import N_CONTEXTS
from bytecap.scoring.memory_words import read_pieces
from tests.scoring.test_memory_earlier import EarlierTwin
from tests.scoring.test_memory_output import OutputTwin
from tests.scoring.test_memory_record import RecordTwin
from tests.scoring.test_memory_tables import Twin
from tests.scoring.test_memory_words import TEXTS

VOCAB, WIDTH, UNITS = 40, 6, 3
Array = npt.NDArray[np.floating]


def random_mixture(seed: int = 0, scale: float = 0.1, *, earlier: bool = False) -> Mixture:
    """Weights that make every feature count."""
    random = np.random.default_rng(seed)
    features, places = N_FEATURES + N_EARLIER * earlier, N_PLACE + N_EARLIER_PLACE * earlier
    shapes = ((UNITS, features), (UNITS, places), (UNITS,), (UNITS,), (USE_CLASSES,))
    return Mixture(*(random.normal(0, scale, shape).astype(np.float32) for shape in shapes))


def text(length: int, seed: int = 1) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """Tokens that repeat themselves, unit states that often resemble each other, and log probabilities."""
    random = np.random.default_rng(seed)
    tokens = np.tile(random.integers(VOCAB, size=length // 2), 2)
    tokens[:: 1 + length // 7] = random.integers(VOCAB, size=len(tokens[:: 1 + length // 7]))
    states = random.normal(size=(8, WIDTH))[random.integers(8, size=len(tokens))] + random.normal(
        0, 0.2, (len(tokens), WIDTH)
    )
    logits = random.normal(0, 2, (len(tokens), VOCAB))
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return tokens, states / np.linalg.norm(states, axis=1, keepdims=True), log_p


Documents = Sequence[npt.NDArray[np.int64]]


def mixed(
    mixture: Mixture, tokens: npt.NDArray[np.int64], states: Array, log_p: Array, documents: Documents = (),
    *, learns: bool = False,
) -> Array:  # fmt: skip
    """The compiled mixture of a whole document, behind others."""
    pieces = read_pieces(TEXTS, VOCAB)
    memory = new_memory(mixture, VOCAB, len(tokens), pieces, learns=learns)
    earlier = EarlierDocuments(VOCAB, pieces)
    for document in documents:
        earlier.add(document.astype(np.int32))
    memory = memory._replace(earlier=earlier.source)
    forget_document(memory, mixture)
    like = likeness(states.astype(np.float32), np.zeros(len(tokens), np.float32), 0, len(tokens))
    return mix(memory, mixture, like, log_p.astype(np.float32), tokens)


Pairs = list[tuple[float, int]]
"""A likeness, and the token that followed there."""


def twin_candidates(twin: Twin, earlier: EarlierTwin, near: Pairs, log_p: Array) -> list[int]:
    """In their order, each once."""
    found = [twin.history[twin.pointer]] if twin.pointer >= 0 else []
    for place in (4, 3, 2, 1, 0, 7, 6, 8, 5):
        found += list(dict.fromkeys(reversed(twin.followers(place))))[:PER_CONTEXT]
    found += [token for _, token in sorted(near, key=lambda pair: -pair[0])[:NEAREST]]
    found = list(dict.fromkeys(found))
    rest = [int(v) for v in np.argsort(-log_p, kind="stable") if v not in found]
    return list(dict.fromkeys(found + rest[:LIKELIEST] + earlier.candidates(twin)))[:CANDIDATES]


def twin_features(twin: Twin, token: int, near: Pairs, aligned: Pairs, log_p: Array) -> list[float]:
    """What is known of a candidate."""
    features = [max(float(log_p[token]), -MAX_NATS)]
    for place in range(N_CONTEXTS):
        followers = twin.followers(place)
        count, total = followers.count(token), len(followers)
        share = math.log((count + 0.1) / (total + 0.2)) + 2
        features += [share, math.log(count + 1), float(followers[-1] == token)] if followers else [0.0, 0.0, 0.0]
    used, length = twin.history.count(token), len(twin.history)
    last = max((i for i, seen in enumerate(twin.history) if seen == token), default=-1)
    features += [math.log((used + 0.1) / (length + 1)) + 4, math.log(used + 1), math.log(length - last) / 3]
    features.append(math.log(twin.match + 1) if twin.pointer >= 0 and twin.history[twin.pointer] == token else 0)
    weights = [math.exp(SHARPNESS * (cosine - 1)) for cosine, _ in near]
    mine = sum(weight for weight, (_, seen) in zip(weights, near, strict=True) if seen == token)
    features.append(math.log(mine / sum(weights) + 0.003) + 3 if near else 0)
    features.append(max((cosine for cosine, seen in near if seen == token), default=-1))
    likenesses = [likeness for likeness, seen in aligned if seen == token]
    features.append(math.log(sum(math.exp(SHARPNESS * (likeness - 1)) for likeness in likenesses) + 0.003))
    return [*features, max(likenesses, default=-1)]


def twin_mixed(
    mixture: Mixture, tokens: npt.NDArray[np.int64], states: Array, log_p: Array, documents: Documents = (),
    *, output: OutputTwin | None = None,
) -> Array:  # fmt: skip
    """The mixture in float64, from the definition."""
    earlier, known = EarlierTwin(TEXTS, documents), bool(documents)
    twin, record, alignment = Twin(TEXTS), RecordTwin(VOCAB), [0.0] * len(tokens)
    rows: list[Array] = []
    features: dict[int, list[float]] = {}
    units: dict[int, Array] = {}
    for t, token in enumerate(tokens):
        if t:
            similar = {v: feature[N_OWN - 4] for v, feature in features.items()}
            record.note(twin, similar, log_p[t - 1], int(token))
            earlier.note(int(token))
            if output is not None:
                output.learn(units, rows[-1], int(token))
        twin.absorb(int(token))
        earlier.find(twin)
        cosines = [(float(states[i] @ states[t]), int(tokens[i + 1])) for i in range(max(0, t - STATES), t)]
        near = [(cosine, seen) for cosine, seen in cosines if cosine >= MIN_COSINE]
        alignment = [
            (1 - ALIGNMENT_MEMORY) * float(states[i] @ states[t]) + ALIGNMENT_MEMORY * (alignment[i - 1] if i else 0)
            for i in range(t)
        ]
        aligned = [(a, int(tokens[i + 1])) for i, a in enumerate(alignment) if a >= MIN_ALIGNMENT]
        weight = sum(math.exp(SHARPNESS * (cosine - 1)) for cosine, _ in near)
        place = [float(log_p[t].max()), math.log(t + 2), math.log(twin.match + 1), math.log(weight + 0.003) / 3]
        for kind in range(N_CONTEXTS):
            place += [math.log(len(twin.followers(kind)) + 1), math.log(len(set(twin.followers(kind))) + 1)]
        place += record.averages + earlier.place_features(twin) * known
        features = {
            v: twin_features(twin, v, near, aligned, log_p[t])
            + record.features(twin, v)
            + earlier.features(twin, v) * known
            for v in twin_candidates(twin, earlier, near, log_p[t])
        }
        row, units = list[float](), dict[int, Array]()
        factor_H = np.ones(UNITS) if output is None else output.factors(twin)
        for v in range(VOCAB):
            if v in features:
                hidden = (
                    mixture.feature_HF @ np.array(features[v]) + mixture.place_HC @ np.array(place) + mixture.bias_H
                )
                units[v] = mixture.output_H * np.maximum(hidden, 0) ** 2
                boost = float(np.clip(factor_H @ units[v], -MAX_BOOST, MAX_BOOST))
            else:
                used = twin.history.count(v)
                boost = float(mixture.used_R[sum(used >= least for least in (1, 2, 3, 5, 9))])
                relative, prior = twin.relative(v), 0.5
                if relative >= 0:
                    prior *= math.sqrt((twin.history.count(relative) + 0.5) / (record.expected[relative] + 0.5))
                boost += math.log((used + prior) / (record.expected[v] + 0.5))
            row.append(float(log_p[t, v]) + boost)
        record.expected = [e + math.exp(p) for e, p in zip(record.expected, log_p[t].tolist(), strict=True)]
        rows.append(np.array(row) - math.log(sum(map(math.exp, row))))
    return np.stack(rows)


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0])
def test_the_mixture_is_the_one_written_out(scale: float) -> None:
    """Every probability of every position, also where the boosts reach their bound."""
    inputs = text(160)
    mixture = random_mixture(scale=scale)
    np.testing.assert_allclose(mixed(mixture, *inputs), twin_mixed(mixture, *inputs), atol=2e-3 * max(scale, 0.01))


def test_the_mixture_behind_earlier_documents_is_the_one_written_out() -> None:
    """One that is like the document at hand, and one that is not."""
    inputs = text(120)
    documents = [np.concatenate([text(60, seed=5)[0], inputs[0][20:80]]), text(50, seed=6)[0]]
    mixture = random_mixture(earlier=True)
    found = mixed(mixture, *inputs, documents)
    np.testing.assert_allclose(found, twin_mixed(mixture, *inputs, documents), atol=2e-4)
    assert np.abs(found - mixed(mixture, *inputs)).max() > 0.1


def test_what_is_learned_of_the_units_is_what_is_written_out() -> None:
    """By contexts told apart by their own tokens, with an order of additions of its own; it changes something."""
    inputs, mixture = text(160), random_mixture(scale=0.3)
    found = mixed(mixture, *inputs, learns=True)
    np.testing.assert_allclose(found, twin_mixed(mixture, *inputs, output=OutputTwin(UNITS)), atol=2e-3)
    assert np.abs(found - mixed(mixture, *inputs)).max() > 0.05


def test_it_sums_to_one() -> None:
    """In float64, over the whole vocabulary."""
    mixture, documents = random_mixture(earlier=True), [text(50, seed=2)[0]]
    for learns in (False, True):
        sums = np.exp(mixed(mixture, *text(120), documents, learns=learns).astype(np.float64)).sum(axis=1)
        np.testing.assert_allclose(sums, 1, atol=1e-6)


def test_no_later_token_has_a_part() -> None:
    """Other tokens, states and log probabilities behind a position change no bit of it."""
    tokens, states, log_p = text(100)
    before = mixed(random_mixture(), tokens, states, log_p, learns=True)
    other_tokens, other_states, other_log_p = text(100, seed=9)
    tokens[60:], states[60:], log_p[60:] = other_tokens[60:], other_states[60:], other_log_p[60:]
    np.testing.assert_array_equal(mixed(random_mixture(), tokens, states, log_p, learns=True)[:60], before[:60])
