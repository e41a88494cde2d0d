"""Documents in both splits: the same as comparing each with each, and what near duplicates are."""

from __future__ import annotations

import re

import numpy as np
import pytest
from planted_cheats import edited

from bytecap.auditing.overlap import SHINGLE_WORDS, jaccard, near_duplicates, shared_documents
from tests.conftest import make_document


def slow_similarity(one: str, other: str) -> float:
    """Sets of runs of words, written out."""

    def runs(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", text.lower())
        length = min(SHINGLE_WORDS, len(words))
        return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)} if words else set()

    a, b = runs(one), runs(other)
    return len(a & b) / len(a | b) if a | b else 0.0


def test_the_same_as_comparing_each_with_each() -> None:
    """Copies with 0 to 10 % of their words changed among strangers: each pair is found with its similarity."""
    rng = np.random.default_rng(0)
    training = [make_document(seed) for seed in range(30)]
    held_out = [edited(training[n], rate, rng) for n, rate in ((3, 0.0), (7, 0.01), (9, 0.03), (12, 0.05), (20, 0.1))]
    held_out += ["a stranger speaks of other things, which nobody wrote before", "", "one"]
    found = {pair.held_out: pair for pair in near_duplicates(held_out, training, at_least=0.5)}
    for number, text in enumerate(held_out):
        likeness = [slow_similarity(text, other) for other in training]
        if max(likeness) >= 0.5:
            assert found[number].similarity == pytest.approx(max(likeness))
            assert found[number].training == int(np.argmax(likeness))
        else:
            assert number not in found
    assert {0, 1, 2} <= set(found)


def test_white_space_and_case_do_not_hide_a_copy() -> None:
    """Only words count."""
    text = make_document(1)
    (pair,) = near_duplicates([text.upper().replace(" ", "\n  ")], [make_document(2), text], at_least=0.9)
    assert pair.similarity == 1.0 and pair.training == 1
    assert shared_documents([text.upper()], [text]) == []


def test_shared_documents() -> None:
    """Letter for letter, each content that is held out once or more."""
    documents = [make_document(seed) for seed in range(6)]
    pairs = shared_documents([documents[1], documents[4], documents[1]], documents)
    assert [(pair.held_out, pair.training) for pair in pairs] == [(0, 1), (1, 4), (2, 1)]


def test_similarity_of_nothing() -> None:
    """Two empty sets are not alike."""
    empty = np.zeros(0, np.uint64)
    assert jaccard(empty, empty) == 0.0 and jaccard(empty, np.ones(1, np.uint64)) == 0.0
