"""A model's distribution and the memory of a document to one distribution over the whole vocabulary; compiled.

In:   log probabilities of the next token, the tables of the document so far, the model's states at its positions.
Out:  log probabilities of the mixture; they sum to one, and no later token has a part in them.

    z_v = log p_v + b_v,   mixture = softmax(z)
    b_v = (factor output) . relu(W feature_v + W' place + bias)^2 for candidates (factor: `memory_output`), for others
    b_v = used[how often the document used v] + log (times it came + r_v) / (times it was expected + 1/2), where r_v is
          1/2, times the root of that ratio of v's relative where v has one

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
    CANDIDATES,
    N_FEATURES,
    N_PLACE,
    Candidates,
    Doubles,
    consider,
    forget,
    no_candidates,
)
from bytecap.scoring.memory_earlier import Earlier, new_earlier, note_earlier
from bytecap.scoring.memory_output import Output, learn_token, new_output, remember, select
from bytecap.scoring.memory_record import BEGIN_J, PRIOR_COUNT, Record, new_record, note, prior_count, use_class
from bytecap.scoring.memory_states import Floats, Likeness, Longs
from bytecap.scoring.memory_tables import Tables, Whole, absorb, clear, new_tables
from bytecap.scoring.memory_words import Pieces

MAX_BOOST = 20.0


class Mixture(NamedTuple):
    """The weights of the mixture; those of the numbers about earlier documents come last, where it knows of them."""

    feature_HF: Floats
    place_HC: Floats
    bias_H: Floats
    output_H: Floats
    used_R: Floats


class Memory(NamedTuple):
    """All that is kept of one document, and of those before it."""

    tables: Tables
    earlier: Earlier
    record: Record
    work: Candidates
    output: Output


def new_memory(
    mixture: Mixture, vocab_size: int, tokens: int, pieces: Pieces | None = None, *, learns: bool = False
) -> Memory:
    """The memory of a document that has not begun, with room for `tokens` tokens.

    Where it `learns`, how far each unit of the mixture is trusted is learned from all documents that it is used for.
    """
    tables, earlier = new_tables(vocab_size, tokens, pieces), new_earlier(vocab_size)
    output = new_output(mixture.output_H.size, CANDIDATES, learns=learns)
    return Memory(tables, earlier, new_record(vocab_size), no_candidates(vocab_size), output)


def forget_document(memory: Memory, mixture: Mixture) -> None:
    """Make it a new one; what was learned of the units stays."""
    clear(memory.tables)
    memory.output.found_1[:] = 0
    forget(memory.work)
    record = memory.record
    record.average_J[:], record.expected_V[:] = BEGIN_J, 0
    record.factor_V[:] = np.exp(np.float64(mixture.used_R[0]))


def mix(memory: Memory, mixture: Mixture, like: Likeness, log_p_TV: Floats, inputs_T: Longs) -> Floats:
    """The mixture after each of `inputs_T`: row t of the answer, as of `log_p_TV`, is that after `inputs_T[t]`.

    Row t of `like` is about the position of `inputs_T[t]`.
    """
    weight_TV = np.exp(log_p_TV, dtype=np.float64)
    run_rows(memory, mixture, like, 0, log_p_TV, weight_TV, inputs_T)
    with np.errstate(divide="ignore"):  # what the model gives no probability has none
        log_q_TV: Floats = np.log(weight_TV / weight_TV.sum(axis=1, keepdims=True)).astype(np.float32)
    return log_q_TV


@compiled()
def run_rows(
    memory: Memory,
    mixture: Mixture,
    like: Likeness,
    first: Whole,
    log_p_TV: Floats,
    weight_TV: Doubles,
    inputs_T: Longs,
) -> Whole:
    """Take in tokens, and turn rows of probabilities into weights of the mixture, which do not sum to one yet.

    Row `first` of `like` is about the first token. Without rows of weights the candidates behind each token are found
    and described alone. Returned is how many there are behind the last. One function, because a compiled function is
    compiled once more into each that calls it.
    """
    tables, record, work = memory.tables, memory.record, memory.work
    found: Whole = 0
    for t in range(inputs_T.size):
        token, log_p_V = inputs_T[t], log_p_TV[t]
        learn_token(memory.output, token)
        note(tables, work, record, token)
        note_earlier(memory.earlier, token)
        forget(work)
        absorb(tables, token)
        record.factor_V[token] = np.exp(np.float64(mixture.used_R[use_class(tables.count_V[token])]))
        for v in range(log_p_V.size):
            record.log_p_V[v] = log_p_V[v]
        found = consider(tables, memory.earlier, record, work, like, first + t, log_p_V)
        if weight_TV.shape[0] > 0:
            _weigh(memory, mixture, found, weight_TV[t])
    return found


@compiled(inner=True)
def _weigh(memory: Memory, mixture: Mixture, found: Whole, weight_V: Doubles) -> None:
    """The model's probabilities to weights."""
    work = memory.work
    select(memory.output, memory.tables)
    _boost(mixture, work, memory.output, found)
    for m in range(found):
        work.boost_M[m] = weight_V[work.token_M[m]] * np.exp(work.boost_M[m])
    _weigh_others(memory.tables, memory.record, weight_V)
    for m in range(found):
        weight_V[work.token_M[m]] = work.boost_M[m]
    if memory.output.change_KSH.shape[1] > 0:
        remember(memory.output, work.token_M, work.boost_M, found, weight_V.sum())


@compiled(inner=True)
def _weigh_others(tables: Tables, record: Record, weight_V: Doubles) -> None:
    """What tokens weigh that are no candidates; each was expected as often as the model says."""
    expected_V = record.before_V
    for v in range(weight_V.size):
        expected_V[v] = record.expected_V[v]
        record.expected_V[v] += weight_V[v]
    for v in range(weight_V.size):
        came = tables.count_V[v] + prior_count(tables, expected_V, v)
        weight_V[v] *= came * record.factor_V[v] / (expected_V[v] + PRIOR_COUNT)


@compiled(fastmath=True, inner=True)
def _boost(mixture: Mixture, work: Candidates, output: Output, found: Whole) -> None:
    """What is added to each candidate's log probability."""
    for m in range(found):
        work.boost_M[m] = 0
    for h in range(mixture.output_H.size):
        base = mixture.bias_H[h]
        for c in range(N_PLACE):
            base += mixture.place_HC[h, c] * work.place_C[c]
        for c in range(N_PLACE, mixture.place_HC.shape[1]):
            base += mixture.place_HC[h, c] * work.place_C[c]
        for m in range(found):
            value = base
            for f in range(N_FEATURES):
                value += mixture.feature_HF[h, f] * work.feature_MF[m, f]
            for f in range(N_FEATURES, mixture.feature_HF.shape[1]):
                value += mixture.feature_HF[h, f] * work.feature_MF[m, f]
            unit = mixture.output_H[h] * value * value if value > 0 else np.float32(0)
            output.unit_MH[m, h] = unit
            work.boost_M[m] += output.factor_H[h] * unit
    for m in range(found):
        work.boost_M[m] = min(max(work.boost_M[m], -MAX_BOOST), MAX_BOOST)
