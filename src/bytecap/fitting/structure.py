"""What shapes and names in a file tell about its tensors: which are gates of recurrent layers, which read the input.

In:   the shapes of all tensors.
Out:  for each weight the axis of its gates, if it has them, whether what it reads comes from outside, and whether what
      it gives goes there.

Nothing is run, so this is a guess, and whoever asks must do well enough if it is wrong.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bytecap.quant.allocation import Shape

GATES = (3, 4)
"""How many gates a unit of a recurrent layer has: GRU, LSTM."""
MOST_PACKED, MOST_PLACES, LEAST_WIDTH = 6, 64, 16
"""How many maps, or places of a kernel, an axis may hold for each unit of another axis, and how many units at least."""


@dataclass(frozen=True)
class Part:
    """What one weight is in its model."""

    gates: int | None = None
    """0 where its rows are gates, 1 where its columns are, None where neither."""
    reads_input: bool = False
    """True for a matrix where no other tensor gives what it reads: embeddings, first maps. Not told of kernels."""
    gives_output: bool = False
    """True for a matrix whose rows have biases, and are as many as nothing else is. Not told of kernels."""


def guess_parts(shapes: Sequence[Shape]) -> dict[str, Part]:
    """What each tensor with two sides is."""
    entries = [entry for entry in shapes if not _is_vector(entry)]
    sides = {entry.name: _sides(entry) for entry in entries}
    kernels = {entry.name for entry in entries if math.prod(entry.places) > 1 or entry.outputs_last}
    vectors = {math.prod(entry.shape) for entry in shapes if _is_vector(entry)}
    biases = {entry.shape[0] for entry in shapes if len(entry.shape) == 1}
    gates = _gates({name: both for name, both in sides.items() if name not in kernels})
    widths = {width for both in sides.values() for width in both} | vectors
    parts = range(2, 1 + (MOST_PLACES if kernels else MOST_PACKED))
    several = {part * width for width in widths if width >= LEAST_WIDTH for part in parts}
    counts = Counter(width for both in sides.values() for width in {*both}), Counter(sides.values())
    return {
        name: Part(
            gates.get(name),
            name not in kernels and _reads_input(sides[name], counts, vectors | several, gates.get(name)),
            name not in kernels and _gives_output(sides[name], counts[0], biases),
        )
        for name in sides
    }


def _sides(entry: Shape) -> tuple[int, int]:
    """Outputs and inputs, or the other way round, without places and without experts."""
    if entry.outputs_last:
        return entry.shape[-1], entry.shape[-2]
    first = 1 if entry.packed else 0
    return entry.shape[first], entry.shape[first + 1]


def _is_vector(entry: Shape) -> bool:
    return math.prod(entry.shape) == max(entry.shape, default=1)


def _gates(sides: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Tensors of 3 or 4 times H on the same side, of which one has H on the other, and which no tensor reads.

    Maps of the same width that only a number in their names tells apart are layers, not the two maps of one.
    """
    found = {}
    for axis in (0, 1):
        alike = defaultdict(list)
        for name, both in sides.items():
            alike[both[axis]].append(name)
        inputs = {both[1 - axis] for both in sides.values()}
        for size, names in alike.items():
            recurrent = any(size == gates * sides[name][1 - axis] for name in names for gates in GATES)
            if recurrent and size not in inputs and len({re.sub(r"\d+", "#", name) for name in names}) > 1:
                found.update(dict.fromkeys(names, axis))
    return found


def _reads_input(
    own: tuple[int, int], counts: tuple[Counter[int], Counter[tuple[int, int]]], known: set[int], gates: int | None
) -> bool:
    """Tell a weight with a side whose size no other tensor has: nobody gives, or reads, what is there.

    Two tables of one shape are those of inputs and of outputs; the units of a recurrent layer read themselves. A side
    of a `known` size is one of outputs with a bias, or holds several maps, or several places of a kernel's outputs.
    Rows that are fewer than the columns are more likely parts of something than rows to look up, unless the columns are
    gates. `counts` are how many tensors have a side of a size, and how many have both sides.
    """
    with_side, with_both = counts
    for axis, size in enumerate(own):
        elsewhere = size == own[1 - axis] or with_side[size] > (with_both[own] if axis == 0 else 1)
        few = axis == 0 and size < own[1] and gates != 1
        gated = gates is not None and (gates == axis or own[gates] in {each * size for each in GATES})
        if not (elsewhere or few or gated or size in known):
            return True
    return False


def _gives_output(own: tuple[int, int], with_side: Counter[int], biases: set[int]) -> bool:
    """Tell a weight with biases for its rows, which are as many as no other tensor has on a side."""
    size, inputs = own
    return size in biases and size != inputs and with_side[size] == 1
