"""The last bytes: single tensors are rounded again with slightly other steps until the real file is under the cap.

In:   a problem, tensors rounded once, the size that the file may have.
Out:  the largest packed file found that is not above it.

Sizes between two files are estimated from the coder's own tables; only a file that is expected to arrive is packed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bytecap.core.budget import slack_bytes
from bytecap.core.progress import Progress
from bytecap.core.units import counted
from bytecap.fitting.passes import RoundedTensor, is_zero
from bytecap.fitting.problem import FitProblem
from bytecap.formats.plan import TensorPlan
from bytecap.formats.size_estimate import coded_bytes
from bytecap.formats.tensor import QuantizedModel

MAX_OCTAVES = 0.06
"""The furthest that a tensor's steps are moved away from the common multiplier at once."""
MAX_ROUNDS, MAX_REMEMBERED, MAX_COMBINATIONS = 40, 6, 24
"""Rounds of rounding again; roundings of a tensor that are remembered; combinations of them that are packed."""
HALF_RESPONSE_BITS = 0.5
"""Bits per weight at which an octave gives half a bit."""
MAX_RESPONSE = 2.0
"""Most that the size may answer to an octave, as a share of what is expected."""
MIN_STEP_SCALE, MAX_STEP_SCALE = 2.0**-40, 2.0**10
"""Bounds of the multiplier of all steps; at the upper one every weight is zero."""

Floats = npt.NDArray[np.float32]
Rounded = dict[str, RoundedTensor]


class Candidates:
    """Roundings of all tensors on the way to one size, and the best file so far."""

    def __init__(self, file_bytes: int, pack: Callable[[QuantizedModel], bytes], overhead_bytes: float) -> None:
        self.file_bytes, self._pack, self._overhead = file_bytes, pack, overhead_bytes
        self.slack = slack_bytes(file_bytes)
        self.finest = False
        """True when no tensor can be stored more finely than it is now."""
        self.current: Rounded = {}
        self.best: tuple[bytes, Rounded] | None = None
        self._seen: dict[str, list[RoundedTensor]] = {}

    @property
    def target_bytes(self) -> float:
        """The size to aim for, half the slack below the cap."""
        return self.file_bytes - 0.5 * self.slack

    @property
    def target_coded_bytes(self) -> float:
        """The part of it that the coded tensors may have."""
        return self.target_bytes - self._overhead

    def accept(self, rounded: Rounded) -> None:
        """Adopt these roundings of some tensors."""
        self.current |= rounded
        for name, entry in rounded.items():
            self._seen.setdefault(name, []).append(entry)

    def gap(self) -> float | None:
        """Bytes by which the next file should be larger; None when this one, packed, is close enough."""
        gap = self.target_bytes - self._estimate(self.current)
        if abs(gap) > 0.5 * self.slack and not (gap > 0 and self.finest):
            return gap
        size = self._try(self.current)
        left = self.file_bytes - size
        return None if 0 <= left <= self.slack or (left > 0 and self.finest) else self.target_bytes - size

    def combine(self) -> None:
        """Where sizes jump, as those of tiny models do: exchange one tensor for another rounding of it, or two."""
        start = self.best[1] if self.best is not None else self.current
        base = self._estimate(start)
        wanted = self.target_bytes - (base if self.best is None else len(self.best[0]))
        seen = [(name, entry) for name, entries in self._seen.items() for entry in entries[-MAX_REMEMBERED:]]
        others = [{name: entry} for name, entry in seen if entry != start[name]]
        changes = [(self._estimate(start | other) - base, other) for other in others]
        changes += [(a + b, one | two) for (a, one), (b, two) in combinations(changes, 2) if one.keys() != two.keys()]
        for _, other in sorted(changes, key=lambda change: abs(change[0] - wanted))[:MAX_COMBINATIONS]:
            if 0 <= self.file_bytes - self._try(start | other) <= self.slack:
                return

    def _estimate(self, rounded: Rounded) -> float:
        return sum(coded_bytes({n: t.estimate for n, t in rounded.items()}).values()) + self._overhead

    def _try(self, rounded: Rounded) -> int:
        """Pack, keep the file if it is the best so far, and learn what the estimate missed."""
        data = self._pack(QuantizedModel({name: entry.stored for name, entry in rounded.items()}))
        self._overhead += len(data) - self._estimate(rounded)
        if len(data) <= self.file_bytes and (self.best is None or len(data) > len(self.best[0])):
            self.best = data, dict(rounded)
        return len(data)


def refine(
    problem: FitProblem, candidates: Candidates, weights: Mapping[str, Floats], order: Sequence[str],
    step_scale: float, progress: Progress,
) -> int:  # fmt: skip
    """Round some tensors of `order` again until the file is close enough; the number of weights that were."""
    rounded, before, response = 0, 0.0, 1.0
    for _ in range(MAX_ROUNDS):
        gap = candidates.gap()
        if gap is None:
            return rounded
        if abs(before) > 2 * candidates.slack:
            # Tables grow with their integers, so an octave may give more than expected. Where it gave less, the
            # next round goes on from there: larger moves swing in tiny models.
            response = min(max(response * min(max((before - gap) / before, 0.5), 2.0), 1.0), MAX_RESPONSE)
        wanted = (0.6 if gap * before < 0 else 1) * gap / response
        step_scale, plans = _moved(problem, candidates.current, wanted, order, step_scale)
        before = gap
        if plans:
            where = "left" if gap > 0 else "too many"
            progress.note(f"{counted(round(abs(gap)), 'byte')} {where}; {counted(len(plans), 'tensor')} rounded again")
            candidates.accept(problem.round(plans, progress, weights))
            rounded += sum(math.prod(plan.shape) for plan in plans)
        elif gap > 0:
            candidates.finest = True
            progress.note("no weight can be stored more finely, what is left stays free")
        else:
            break
    candidates.combine()
    return rounded


def bytes_per_octave(size_bytes: float, n_weights: int) -> float:
    """Bytes that steps finer by an octave are expected to add: a bit for each weight, or less where they have few bits.

    R / (R + 1/2) bits at R bits per weight is within 0.1 of what was measured from 0.2 to 4.8 (docs/lab_notes.md).
    """
    bits = max(8 * size_bytes / n_weights, 1 / 64)
    return n_weights / 8 * bits / (bits + HALF_RESPONSE_BITS)


def _moved(
    problem: FitProblem, current: Rounded, gap_bytes: float, order: Sequence[str], step_scale: float
) -> tuple[float, list[TensorPlan]]:
    """Plans with other steps that take up the gap, as far as they can: of few tensors, or of all by another scale."""
    sizes = coded_bytes({name: entry.estimate for name, entry in current.items()})
    gives = {
        name: bytes_per_octave(sizes[name], problem.weights[name].size)
        for name in (*problem.factors, *problem.per_tensor)
    }
    given, taken = 0.0, list[TensorPlan]()
    for name in order:
        plan = current[name].plan
        if gap_bytes < 0:
            spent = is_zero(current[name].stored)  # what is all zero has no more to give
        else:  # nor has what 16-bit integers cannot hold more finely
            spent = problem.representable(plan.finer(MAX_OCTAVES)) == plan
        if spent:
            continue
        taken.append(plan)
        given += gives[name]
        octaves = gap_bytes / given
        if abs(octaves) <= MAX_OCTAVES:
            plans = [problem.representable(plan.finer(octaves)) for plan in taken]
            break
    else:
        octaves = float(np.clip(gap_bytes / max(sum(gives.values()), 1), -1, 1))
        step_scale = min(max(step_scale * 2.0**-octaves, MIN_STEP_SCALE), MAX_STEP_SCALE)
        plans = list(problem.plan(step_scale).tensors)
    return step_scale, [plan for plan in plans if plan != current[plan.name].plan]
