"""Probability tables of tokens, one for each context, in a form that is cheap to send.

In:   counts of magnitude tokens by context.
Out:  frequencies that sum to 2^14 in each context, signs split evenly, made from small integer codes by integer
      arithmetic, so that encoder and decoder hold the same numbers.

Letters: C contexts, M magnitude tokens.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bytecap.coding.tokens import MAGNITUDES
from bytecap.core.errors import FormatError

PRECISION = 14
TOTAL = 1 << PRECISION
_FINENESS = 8
"""A code has eight values in an octave: 3 % error, 0.0006 bit a symbol."""
MAX_CODE = 1 + _FINENESS * 13

Ints = npt.NDArray[np.int64]


def codes_of(counts_CM: Ints) -> Ints:
    """(C, M): 0 for a token that does not occur, else 1 to MAX_CODE for its probability relative to the likeliest."""
    # Both signs share a count; each has half of it.
    weights_CM = counts_CM * 2.0
    weights_CM[:, 1:] = counts_CM[:, 1:]
    most_C = weights_CM.max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        octaves_CM = np.log2(weights_CM / most_C)
    codes_CM = np.rint(MAX_CODE + _FINENESS * octaves_CM, where=counts_CM > 0, out=np.zeros(counts_CM.shape))
    return np.where(counts_CM > 0, codes_CM.clip(1, MAX_CODE), 0).astype(np.int64)


def make_frequencies(codes_CM: Ints) -> Ints:
    """(C, M): frequency of a token of either sign; in each context f_0 + 2 (f_1 + f_2 + ...) = 2^14 exactly."""
    if codes_CM.size and (codes_CM.min() < 0 or codes_CM.max() > MAX_CODE):
        raise FormatError("a probability table holds an impossible code")
    exponent_CM, mantissa_CM = np.divmod(np.maximum(codes_CM - 1, 0), _FINENESS)
    weights_CM = np.where(codes_CM > 0, _MANTISSAS[mantissa_CM] << exponent_CM, 0)
    both_CM = weights_CM * 2
    both_CM[:, 0] = weights_CM[:, 0]
    sums_C = both_CM.sum(axis=1, keepdims=True)
    if (sums_C == 0).any():
        raise FormatError("a probability table is empty")
    frequencies_CM = np.where(codes_CM > 0, np.maximum(weights_CM * TOTAL // sums_C, 1), 0)
    # What rounding left over goes to the likeliest token, in pairs where it has two signs, the odd one to zero.
    rows = np.arange(len(codes_CM))
    likeliest_C = frequencies_CM.argmax(axis=1)
    missing_C = TOTAL - (2 * frequencies_CM.sum(axis=1) - frequencies_CM[:, 0])
    pairs_C = np.where(likeliest_C > 0, missing_C // 2, 0)
    frequencies_CM[rows, likeliest_C] += pairs_C
    frequencies_CM[:, 0] += missing_C - 2 * pairs_C
    if (frequencies_CM < 0).any():
        raise FormatError("a probability table cannot be balanced")
    return frequencies_CM


def make_intervals(frequencies_CM: Ints) -> tuple[Ints, Ints]:
    """(C, TOKENS) start and frequency of each signed token: 0, +1, -1, +2, -2 and so on."""
    signed = np.repeat(frequencies_CM, 2, axis=1)[:, 1:]
    return np.cumsum(signed, axis=1) - signed, signed


_MANTISSAS = np.array([1024, 1117, 1218, 1328, 1448, 1579, 1722, 1878], np.int64)
"""2^(k/8) in units of 2^-10."""

assert MAGNITUDES * 2 < TOTAL
