"""How far each unit of the mixture is trusted in a context, learned while documents are scored; compiled.

In:   what each unit adds to each candidate, the probabilities that the mixture gave, the token that came.
Out:  a factor for each unit.

A unit's output weight is multiplied by 1 + the sum of four numbers: one for all places and one for each of three
contexts, the last token, the last two, and the word begun. Each is moved against the gradient of the loss of a token
once that has come, by less the more it has been moved before. They begin at zero, so nothing of them is in a file.

Letters: M candidates, H hidden units, K contexts, S slots of a context.
Source:  sets of weights selected by context, as in paq8's mixers (mattmahoney.net/dc); step sizes of Duchi et al. 2011.
Differs: one softmax over tokens instead of a chain of bits, and the sets are added up before it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bytecap.core.compiled import compiled
from bytecap.scoring.memory_tables import FIRST_WORD, Tables, Whole

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]

SELECTED_BY = (-1, 0, 1, FIRST_WORD)
"""Contexts that select a number, by their places among those of a document; -1: none does, there is one for all."""
SLOTS = 1 << 14
"""Numbers of a context; contexts whose hashes end alike share one."""
RATE = 0.1


class Output(NamedTuple):
    """What was learned, and what the last position said; arrays that the compiled functions change in place."""

    change_KSH: Floats
    """No slots where nothing is learned."""
    square_KSH: Floats
    """Summed squares of the gradients of each."""
    slot_K: Longs
    factor_H: Floats
    """What the output weights are multiplied by at this position."""
    unit_MH: Floats
    """What each unit adds to each candidate at a factor of 1."""
    token_M: Longs
    probability_M: Doubles
    found_1: Longs
    """Candidates of the last position; 0 where it said nothing of the token that comes."""


def new_output(units: int, candidates: int, *, learns: bool) -> Output:
    """Nothing was learned yet."""
    change_KSH, square_KSH = np.zeros((2, len(SELECTED_BY), SLOTS if learns else 0, units), np.float32)
    return Output(
        change_KSH=change_KSH,
        square_KSH=square_KSH,
        slot_K=np.zeros(len(SELECTED_BY), np.int64),
        factor_H=np.ones(units, np.float32),
        unit_MH=np.zeros((candidates, units), np.float32),
        token_M=np.zeros(candidates, np.int64),
        probability_M=np.zeros(candidates),
        found_1=np.zeros(1, np.int64),
    )


@compiled(inner=True)
def select(output: Output, tables: Tables) -> None:
    """The factors behind the document's last token."""
    if output.change_KSH.shape[1] == 0:
        return
    output.factor_H[:] = 1
    for k in range(len(SELECTED_BY)):
        slot: Any = 0
        if SELECTED_BY[k] >= 0:
            slot = np.int64(tables.key_O[SELECTED_BY[k]] & np.uint64(SLOTS - 1))
        output.slot_K[k] = slot
        for h in range(output.factor_H.size):
            output.factor_H[h] += output.change_KSH[k, slot, h]


@compiled(inner=True)
def remember(output: Output, token_M: Longs, weight_M: Doubles, found: Whole, total: float) -> None:
    """Keep what the mixture says of the candidates, whose weights are of `total`."""
    output.found_1[0] = found
    for m in range(found):
        output.token_M[m] = token_M[m]
        output.probability_M[m] = weight_M[m] / total


@compiled(inner=True)
def learn_token(output: Output, token: Whole) -> None:
    """A token has come, of which the last position spoke."""
    found, change_KSH = output.found_1[0], output.change_KSH
    output.found_1[0] = 0
    if change_KSH.shape[1] == 0 or found == 0:
        return
    for h in range(output.factor_H.size):
        gradient = np.float32(0)
        for m in range(found):
            came = 1.0 if output.token_M[m] == token else 0.0
            gradient += np.float32(came - output.probability_M[m]) * output.unit_MH[m, h]
        for k in range(len(SELECTED_BY)):
            slot = output.slot_K[k]
            output.square_KSH[k, slot, h] += gradient * gradient
            size = np.float32(1) + np.sqrt(output.square_KSH[k, slot, h])
            change_KSH[k, slot, h] += np.float32(RATE) * gradient / size
