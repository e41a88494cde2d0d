"""Like states of a document: which tokens followed where the model's state was like the last one; compiled.

In:   cosines of the last position's state with those before it, the document's tokens.
Out:  for each token the weight of the states that it followed, and the tokens behind the nearest of them.

Letters: V vocabulary, K nearest states, T positions that are mixed together, W those that they are compared with, L
tokens of the document, D width of the states.
Source:  a cache over states: arXiv 1612.04426.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from bytecap.core.compiled import compiled
from bytecap.scoring.memory_tables import TOKENS, Tables, Whole

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]
Real: TypeAlias = "float | np.floating[Any]"

NEAREST = 8
"""States that give the tokens behind them."""
STATES = 2048
"""Positions back up to which states are compared."""
MIN_COSINE = 0.3
SHARPNESS = 14.4
"""A state at cosine c weighs exp(SHARPNESS (c - 1)), and so does one that is aligned by c."""
ALIGNMENT_MEMORY = 0.6
"""Share of the alignment of the positions before that two positions keep; the rest is their states' cosine."""
MIN_ALIGNMENT = 0.2


class Likeness(NamedTuple):
    """How like the states at some positions of a document are to those before."""

    cosine_TW: Floats
    """Row t: of position `begin` + t with each position from `first` on; those behind it are not looked at."""
    first: int
    aligned_L: Floats
    """How well each position is aligned with the last; kept from one position to the next."""


class StateWeights(NamedTuple):
    """What like states say of each token; those by token are empty between positions."""

    similar_V: Floats
    """Summed weight of the states that each token followed."""
    nearest_V: Floats
    """Cosine of the most similar of them; -1 for none."""
    aligned_V: Floats
    """The same for positions by their alignment: how like the states there and before are to the last ones."""
    best_aligned_V: Floats
    token_K: Longs
    """The tokens behind the nearest states, the nearest first; -1 where there are fewer."""
    cosine_K: Floats


def likeness(unit_LD: Floats, aligned_L: Floats, begin: int, end: int) -> Likeness:
    """How like positions `begin` to `end` - 1, whose states are unit vectors, are to those up to STATES before.

    The product is PyTorch's: NumPy's has threads of its own, and two sets of waiting threads slow each other down.
    """
    first = max(0, begin - STATES)
    cosine_TW = torch.from_numpy(unit_LD[begin:end]) @ torch.from_numpy(unit_LD[first:end]).T
    return Likeness(cosine_TW.numpy(), first, aligned_L)


def new_state_weights(vocab_size: int) -> StateWeights:
    """Empty ones."""
    return StateWeights(
        similar_V=np.zeros(vocab_size, np.float32),
        nearest_V=np.full(vocab_size, -1, np.float32),
        aligned_V=np.zeros(vocab_size, np.float32),
        best_aligned_V=np.full(vocab_size, -1, np.float32),
        token_K=np.zeros(NEAREST, np.int64),
        cosine_K=np.zeros(NEAREST, np.float32),
    )


@compiled(fastmath=True, inner=True)
def compare_states(tables: Tables, like: Likeness, t: Whole, states: StateWeights) -> Real:
    """Weigh each earlier state by its likeness to the last one, for the token that followed it; the sum of weights."""
    last = tables.numbers_5[TOKENS] - 1
    cosine_W, aligned_L, first = like.cosine_TW[t], like.aligned_L, like.first
    total, near = np.float32(0), 0
    for k in range(NEAREST):
        states.token_K[k] = -1
    for i in range(last - 1, max(0, last - STATES) - 1, -1):
        cosine = cosine_W[i - first]
        token = tables.history_L[i + 1]
        before = aligned_L[i - 1] if i > 0 else np.float32(0)
        aligned_L[i] = np.float32(1 - ALIGNMENT_MEMORY) * cosine + np.float32(ALIGNMENT_MEMORY) * before
        if aligned_L[i] >= MIN_ALIGNMENT:
            states.aligned_V[token] += np.exp(np.float32(SHARPNESS) * (aligned_L[i] - np.float32(1)))
            states.best_aligned_V[token] = max(states.best_aligned_V[token], aligned_L[i])
        if cosine < MIN_COSINE:
            continue
        weight = np.exp(np.float32(SHARPNESS) * (cosine - np.float32(1)))
        total += weight
        states.similar_V[token] += weight
        states.nearest_V[token] = max(states.nearest_V[token], cosine)
        if near < NEAREST or cosine > states.cosine_K[near - 1]:
            near = _insert_near(states, near, token, cosine)
    return total


@compiled(inner=True)
def _insert_near(states: StateWeights, near: int, token: Whole, cosine: Real) -> int:
    """One more of the nearest states, in its place; how many there are."""
    near = min(near + 1, NEAREST)
    at = near - 1
    while at > 0 and states.cosine_K[at - 1] < cosine:
        states.cosine_K[at] = states.cosine_K[at - 1]
        states.token_K[at] = states.token_K[at - 1]
        at -= 1
    states.cosine_K[at] = cosine
    states.token_K[at] = token
    return near


@compiled(inner=True)
def describe_states(states: StateWeights, token: Whole, total: Real, feature_F: Floats) -> None:
    """After which states the token came, as a share of the total weight and by the nearest; the same by alignment."""
    feature_F[0] = np.log(np.float32(states.similar_V[token] / total + 0.003)) + 3 if total > 0 else np.float32(0)
    feature_F[1] = states.nearest_V[token]
    feature_F[2] = np.log(np.float32(states.aligned_V[token] + 0.003))
    feature_F[3] = states.best_aligned_V[token]


@compiled(inner=True)
def forget_states(tables: Tables, states: StateWeights) -> None:
    """Empty what `compare_states` filled in."""
    last = tables.numbers_5[TOKENS] - 1
    for i in range(max(0, last - STATES), last):
        token = tables.history_L[i + 1]
        states.similar_V[token] = 0
        states.nearest_V[token] = -1
        states.aligned_V[token] = 0
        states.best_aligned_V[token] = -1
