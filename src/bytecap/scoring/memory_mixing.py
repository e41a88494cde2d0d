"""A model's distribution and the memory of a document to one distribution over the whole vocabulary; compiled.

In:   log probabilities of the next token, the tables of the document so far, the model's states at its positions.
Out:  log probabilities of the mixture; they sum to one, and no later token has a part in them.

    z_v = log p_v + b_v,   mixture = softmax(z)
    b_v = output . relu(W feature_v + W' place + bias)^2 for candidates, used[how often the document used v] for others

Letters: T positions, V vocabulary, F features of a candidate, C features of the place, H hidden units, R classes of
use, L tokens of the document, D width of the states.
Source:  context mixing as in paq8 and cmix (mattmahoney.net/dc).
Differs: one softmax over tokens, not a chain of bits, so that the result is normalized over tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bytecap.core.compiled import compiled
from bytecap.scoring.memory_candidates import (
    N_FEATURES,
    N_PLACE,
    Candidates,
    Floats,
    Likeness,
    Longs,
    consider,
    forget,
    use_class,
)
from bytecap.scoring.memory_tables import Tables, Whole, absorb

MAX_BOOST = 20.0


class Mixture(NamedTuple):
    """The weights of the mixture."""

    feature_HF: Floats
    place_HC: Floats
    bias_H: Floats
    output_H: Floats
    used_R: Floats


@compiled()
def mix(tables: Tables, work: Candidates, mixture: Mixture, like: Likeness, log_p_TV: Floats, inputs_T: Longs) -> None:
    """Mix the memory into each row of `log_p_TV` in place: row t is the distribution after `inputs_T[t]`.

    Row t of `like` is about the position of `inputs_T[t]`.
    """
    raised_V = np.empty(log_p_TV.shape[1])
    for t in range(inputs_T.size):
        log_p_V = log_p_TV[t]
        absorb(tables, inputs_T[t])
        found = consider(tables, work, like, t, log_p_V)
        _boost(mixture, work, found)
        total = 0.0
        for v in range(log_p_V.size):
            rank = work.rank_V[v]
            raised = mixture.used_R[use_class(tables.count_V[v])] if rank == 0 else work.boost_M[rank - 1]
            raised_V[v] = log_p_V[v] + raised
            total += np.exp(raised_V[v])
        log_total = np.log(total)
        for v in range(log_p_V.size):
            log_p_V[v] = raised_V[v] - log_total
        forget(work, found)


@compiled(fastmath=True)
def _boost(mixture: Mixture, work: Candidates, found: Whole) -> None:
    """What is added to each candidate's log probability."""
    work.boost_M[:found] = 0
    for h in range(mixture.output_H.size):
        base = mixture.bias_H[h]
        for c in range(N_PLACE):
            base += mixture.place_HC[h, c] * work.place_C[c]
        for m in range(found):
            value = base
            for f in range(N_FEATURES):
                value += mixture.feature_HF[h, f] * work.feature_MF[m, f]
            if value > 0:
                work.boost_M[m] += mixture.output_H[h] * value * value
    for m in range(found):
        work.boost_M[m] = min(max(work.boost_M[m], -MAX_BOOST), MAX_BOOST)
