"""What a calibration knows about a checkpoint. Needs no torch, so that planning needs none either.

In / Out:  filled by `calibration.py`, read by `factors.py`, `allocation.py` and published schemes.

Letters: O rows (outputs), I columns (inputs) of a weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bytecap.core.progress import Progress
from bytecap.core.units import counted

Floats = npt.NDArray[np.float32]

FEW_POSITIONS, PRIOR_POSITIONS = 1_600, 16.0
"""Different positions below which curvature is not trusted as it is, and how many the prior counts for."""


@dataclass(frozen=True, kw_only=True)
class Curvature:
    """The curvature of one weight: ΔL ≈ ½ tr(G E A Eᵀ) nats per token for an error E."""

    inputs_II: Floats
    """A: mean of x xᵀ over tokens, or its diagonal (I,) where only that is known."""
    outputs: Floats
    """G: mean of g gᵀ over tokens, (O, O), or its diagonal (O,); g is the gradient of a token's loss at the outputs."""
    gradient_square: float
    """Mean over batches and elements of the squared gradient of the weight (nats per token)²."""

    linear_II: Floats | None = None
    """A of a tied weight's use as a linear map alone, all that the published runs looked at; None if untied."""
    parts: tuple[Curvature, ...] = ()
    """The curvature of each part, where rows are so many parts with inputs of their own, such as experts; the
    fields above say what is true of all of them together, G by its diagonal."""

    @property
    def inputs_diagonal_I(self) -> Floats:
        """A_jj."""
        return np.ascontiguousarray(np.diagonal(self.inputs_II)) if self.inputs_II.ndim == 2 else self.inputs_II

    @property
    def outputs_diagonal_O(self) -> Floats:
        """G_ii."""
        return np.ascontiguousarray(np.diagonal(self.outputs)) if self.outputs.ndim == 2 else self.outputs

    def scaled(self, factor: float) -> Curvature:
        """The same curvature multiplied by a factor."""
        outputs = np.asarray(self.outputs * np.float32(factor))
        return dataclasses.replace(self, outputs=outputs, parts=tuple(part.scaled(factor) for part in self.parts))


def add_curvatures(one: Curvature, other: Curvature) -> Curvature:
    """The curvature of one weight in two places, as a pair again: A by the loss that each carries, G by the size of A.

    Exact where both have the same A up to a factor, or the same G.
    """
    sizes = [float(each.inputs_diagonal_I.mean()) for each in (one, other)]
    traces = [float(each.outputs_diagonal_O.sum()) * size for each, size in zip((one, other), sizes, strict=True)]
    if 0 in traces:
        return one if traces[1] == 0 else other
    inputs, outputs = (
        [first, second] if first.ndim == second.ndim else [_diagonal(first), _diagonal(second)]
        for first, second in ((one.inputs_II, other.inputs_II), (one.outputs, other.outputs))
    )
    first, second = (a * (trace / size) for a, size, trace in zip(inputs, sizes, traces, strict=True))
    return Curvature(
        inputs_II=np.asarray((first + second) / sum(traces), np.float32),
        outputs=outputs[0] * sizes[0] + outputs[1] * sizes[1],
        gradient_square=one.gradient_square + other.gradient_square,
        parts=tuple(map(add_curvatures, one.parts, other.parts)) if len(one.parts) == len(other.parts) else (),
    )


def _diagonal(curvature: Floats) -> Floats:
    return np.ascontiguousarray(np.diagonal(curvature)) if curvature.ndim == 2 else curvature


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The curvature of every weight of one checkpoint on some text."""

    source_digest: str
    """Digest of the checkpoint."""
    tokens: int
    """Positions measured."""
    loss: float
    """Nats per token of the checkpoint on them."""
    unigram: float
    """Nats per token of the best fixed distribution on them: what a model without any context reaches."""
    tensors: dict[str, Curvature]
    """The curvature of each weight by name; weights that were never used have none."""
    measured_on: str = ""
    """Digest of text and settings, where it is kept to be used again."""
    vectors: dict[str, float] = field(default_factory=dict)
    """For every other parameter the mean over its elements of the Fisher information of one position."""
    training_squares: dict[str, float] = field(default_factory=dict)
    """Mean squared gradients that training has gathered, for schemes that rank by them; empty where it has not."""
    distinct: int = 0
    """Positions with different outputs among those measured; 0 if they were not counted, not exact if they are many
    (distinct.py)."""

    @property
    def min_damping(self) -> float:
        """The least damping, as a share of the mean curvature, that so few different positions warrant; 0 for many.

        What was not seen may come: the same curvature in all directions counts for as much as `PRIOR_POSITIONS`.
        """
        return PRIOR_POSITIONS / self.distinct if 0 < self.distinct < FEW_POSITIONS else 0.0

    def note_thin(self, progress: Progress) -> None:
        """Report too little calibration, where that is so."""
        if self.min_damping > 0:
            differ = f", of which only {self.distinct:,} differ" if self.distinct < self.tokens else ""
            progress.note(
                f"calibration has seen {counted(self.tokens, 'position')}{differ}; that is too few to tell directions "
                f"apart, so curvature is damped by {self.min_damping:.2g} of its mean. Give more, and "
                "more different, samples"
            )

    def scaled(self, factors: Mapping[str, float]) -> Calibration:
        """The same calibration with the curvature of each named tensor multiplied by the factor given."""
        tensors = {n: c.scaled(factors[n]) if n in factors else c for n, c in self.tensors.items()}
        vectors = {name: value * factors.get(name, 1.0) for name, value in self.vectors.items()}
        return dataclasses.replace(self, tensors=tensors, vectors=vectors)

    def stored_once(self, aliases: Mapping[str, str]) -> Calibration:
        """The same calibration where the tensors in `aliases` are stored once, under the names that it gives them."""
        tensors, vectors = dict(self.tensors), dict(self.vectors)
        for name, known in aliases.items():
            if (found := tensors.pop(name, None)) is not None:
                tensors[known] = found if known not in tensors else add_curvatures(tensors[known], found)
            if (fisher := vectors.pop(name, None)) is not None:
                vectors[known] = fisher + vectors.get(known, 0.0)
        return dataclasses.replace(self, tensors=tensors, vectors=vectors)
