"""From a cap to a file: one multiplier is found with cheap passes, then real roundings close the gap.

In:   weights, the factors of their curvature, a cap, and a function that packs a QuantizedModel and gives its bytes.
Out:  the plan, the quantized model and the file.

The size falls by one bit per weight when the steps double. A cheap pass (no feedback, some of the columns) tells the
size of a full rounding within a percent, so the full rounding is done once; then single tensors, the smaller the
closer, are rounded again with slightly other steps until the real file is just under the cap.

Or tensors are rounded in turn, with the open ones adapted in between (quant/distillation.py): then each turn brings the
steps of those still to come nearer to the cap, and the last ones land.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from bytecap.core.errors import BudgetError
from bytecap.core.progress import Progress
from bytecap.fitting.passes import RoundedTensor, estimate_pass, rounding_pass, zeros
from bytecap.formats.plan import BitPlan, TensorPlan
from bytecap.formats.row_column import ROW_COLUMN
from bytecap.formats.size_estimate import coded_bytes, estimate_size
from bytecap.formats.steps import make_steps
from bytecap.formats.tensor import MAX_NUMBERS_OF_A_BYTE, QuantizedModel
from bytecap.formats.trellis import SCALAR
from bytecap.quant.allocation import STEP_MSE, PerTensorStep, QuantConfig, Shape, allocate
from bytecap.quant.factors import Factors

MIN_STEP_SCALE, MAX_STEP_SCALE = 2.0**-40, 2.0**10
SLACK_BYTES, SLACK_SHARE = 64, 0.0002
MAX_OCTAVES = 0.06
"""Furthest that a tensor's steps are moved away from the common multiplier in one go."""
MAX_ROUNDS, MAX_REMEMBERED, MAX_COMBINATIONS = 40, 6, 24
HALF_RESPONSE_BITS = 0.5
"""Bits per weight at which an octave gives half a bit."""
MIN_RESPONSE, MAX_RESPONSE = 1 / 16, 2.0
"""Bounds of what the size answers to an octave, as a share of what is expected."""
MAX_LEVEL = 20_000
"""Multiples of the step that the largest weight may be away from zero before feedback, of 65,534 that can be stored."""

Pack = Callable[[QuantizedModel], bytes]
AdaptiveDamping = Callable[[str, float], Factors | None]
Adapt = Callable[[str, npt.NDArray[np.float32], dict[str, float]], dict[str, npt.NDArray[np.float32]]]
"""A tensor, what it was rounded to, and the errors (root mean square) to come in those still open: their new values."""
StartAdaptation = Callable[[list[str]], Adapt]
"""Begins, with the names of all tensors that may change."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FitResult:
    """A file under the cap and what it was made with."""

    plan: BitPlan
    model: QuantizedModel
    data: bytes
    loss: float
    """Predicted increase of the loss in nats per token; where tensors were adapted, what it would be without."""
    losses: dict[str, float]
    """Of each tensor."""
    predicted_bytes: int
    roundings: float
    """Full passes over the weights."""


@dataclass(frozen=True)
class Prediction:
    """What a fit would give, without rounding."""

    step_scale: float
    size_bytes: int
    loss: float
    """Increase of the loss in nats per token."""
    factors: dict[str, Factors] = field(repr=False, compare=False)
    """With the damping that this multiplier needs."""


class _Search:
    """What was rounded on the way to one cap."""

    def __init__(self, cap_bytes: int, pack: Pack, overhead: float) -> None:
        self.cap, self.pack, self.overhead = cap_bytes, pack, overhead
        self.finest = False
        """Whether no tensor can be stored more finely than it was rounded last."""
        self.slack = max(SLACK_BYTES, int(SLACK_SHARE * cap_bytes))
        self.rounded_tensors: dict[str, RoundedTensor] = {}
        self.seen: dict[str, list[RoundedTensor]] = {}
        self.best: tuple[bytes, dict[str, RoundedTensor]] | None = None

    def accept(self, rounded: dict[str, RoundedTensor]) -> None:
        """Go on with these roundings of some tensors."""
        self.rounded_tensors |= rounded
        for name, entry in rounded.items():
            self.seen.setdefault(name, []).append(entry)

    def gap(self) -> float | None:
        """Bytes by which the next file should be larger; None when this one, packed, is close enough under the cap."""
        gap = self.target_bytes() - self._estimate(self.rounded_tensors)
        if abs(gap) > 0.5 * self.slack and not (gap > 0 and self.finest):
            return gap
        size = self._pack_and_keep(self.rounded_tensors)
        return None if 0 <= self.cap - size <= self.slack or self.finest else self.target_bytes() - size

    def mix(self) -> None:
        """Where sizes jump, as those of tiny models do: one tensor from another rounding, or two."""
        start = self.best[1] if self.best is not None else self.rounded_tensors
        base = self._estimate(start)
        wanted = self.target_bytes() - (base if self.best is None else len(self.best[0]))
        seen = [(name, entry) for name, entries in self.seen.items() for entry in entries[-MAX_REMEMBERED:]]
        others = [{name: entry} for name, entry in seen if entry != start[name]]
        mixed = [(self._estimate(start | other) - base, other) for other in others]
        mixed += [(a + b, one | two) for (a, one), (b, two) in combinations(mixed, 2) if one.keys() != two.keys()]
        for _, other in sorted(mixed, key=lambda mix: abs(mix[0] - wanted))[:MAX_COMBINATIONS]:
            if 0 <= self.cap - self._pack_and_keep(start | other) <= self.slack:
                return

    def target_bytes(self) -> float:
        """Bytes that a file should have, half the slack below the cap."""
        return self.cap - 0.5 * self.slack

    def _estimate(self, rounded_tensors: dict[str, RoundedTensor]) -> float:
        return sum(coded_bytes({n: t.estimate for n, t in rounded_tensors.items()}).values()) + self.overhead

    def _pack_and_keep(self, rounded_tensors: dict[str, RoundedTensor]) -> int:
        """Pack, keep the file if it is the best so far, and learn what the estimate missed."""
        data = self.pack(QuantizedModel({name: entry.stored for name, entry in rounded_tensors.items()}))
        self.overhead += len(data) - self._estimate(rounded_tensors)
        if len(data) <= self.cap and (self.best is None or len(data) > len(self.best[0])):
            self.best = data, dict(rounded_tensors)
        return len(data)


class Fitter:
    """One checkpoint with its factors, any number of caps."""

    def __init__(
        self,
        weights: dict[str, Floats],
        shapes: list[Shape],
        factors: dict[str, Factors],
        config: QuantConfig,
        made_from: str,
        pack: Pack,
        adaptive_damping: AdaptiveDamping | None = None,
        vectors: dict[str, PerTensorStep] | None = None,
    ) -> None:
        """`adaptive_damping(name, step_scale)` gives other factors where steps this coarse need them, or None."""
        self._weights = {n: _matrix(w) if n in factors else w for n, w in weights.items()}
        self._shapes, self._damped, self._vectors = shapes, adaptive_damping, vectors or {}
        self._base = self._factors = factors
        self._config, self._made_from, self._pack = config, made_from, pack
        self._count = sum(weights[name].size for name in factors)
        self._numbers = max(1, self._count + sum(weights[name].size for name in self._vectors))
        """Weights with row and column steps, and all that have a step."""
        self._smallest: int | None = None
        self._overhead = 0.0

    def smallest(self) -> int:
        """Bytes of the smallest file that this model, tokenizer and header can make: every weight zero."""
        if self._smallest is None:
            plan = self._plan(MAX_STEP_SCALE)
            tensors = {tensor.name: zeros(tensor, self._weights[tensor.name]) for tensor in plan.tensors}
            size = len(self._pack(QuantizedModel(tensors)))
            estimate = coded_bytes({name: estimate_size(tensor) for name, tensor in tensors.items()})
            # What a file holds beyond its coded tensors; every real file that is packed later corrects it.
            self._overhead = size - sum(estimate.values())
            self._smallest = max(size, 1 + sum(w.size for w in self._weights.values()) // MAX_NUMBERS_OF_A_BYTE)
        return self._smallest

    def predict(self, step_scale: float) -> Prediction:
        """Size and loss of a fit with this multiplier, from a cheap pass."""
        self.smallest()
        plan = self._plan(step_scale)
        cheap = estimate_pass(plan.tensors, self._weights, self._factors, self._config.rate)
        sizes = coded_bytes({name: entry[0] for name, entry in cheap.items()})
        return Prediction(
            step_scale, round(sum(sizes.values()) + self._overhead), sum(e[1] for e in cheap.values()), self._factors
        )

    def predict_for_size(self, cap_bytes: int, progress: Progress) -> Prediction:
        """The multiplier whose predicted size is the cap; BudgetError when no file can be that small."""
        refuse_small_cap(self.smallest(), cap_bytes)
        self._factors = self._base
        found = self._search(cap_bytes, self.predict(self._initial_step_scale(cap_bytes)), progress)
        if self._damped is None:
            return found
        # More damping moves the multiplier a little; the damping itself follows it so slowly that once is enough.
        other = {name: self._damped(name, found.step_scale) for name in self._base}
        self._factors = {**self._base, **{name: factors for name, factors in other.items() if factors is not None}}
        return self._search(cap_bytes, self.predict(found.step_scale), progress)

    def _search(self, cap_bytes: int, found: Prediction, progress: Progress) -> Prediction:
        """The multiplier on a logarithmic scale, by secant; halved into where that gets nowhere."""
        low, high = math.log2(MIN_STEP_SCALE), math.log2(MAX_STEP_SCALE)
        before = found
        for round_ in range(24):
            progress.update(round_, 24, f"predicted {found.size_bytes:,} bytes")
            position, gap = math.log2(found.step_scale), found.size_bytes - cap_bytes
            if abs(gap) <= max(0.002 * cap_bytes, SLACK_BYTES) or high - low < 1e-3:
                break
            low, high = (position, high) if gap > 0 else (low, position)
            given = _bytes_per_octave(found.size_bytes - self._overhead, self._numbers)
            if before is not found:
                octaves = math.log2(before.step_scale / found.step_scale)
                told = (found.size_bytes - before.size_bytes) / octaves
                given = min(max(told, MIN_RESPONSE * given), MAX_RESPONSE * given)
            target = position + gap / given
            before, found = found, self.predict(2.0 ** (target if low < target < high else (low + high) / 2))
        return found

    def fit_to_size(
        self,
        cap_bytes: int,
        progress: Progress,
        predicted: Prediction | None = None,
        start_adaptation: StartAdaptation | None = None,
    ) -> FitResult:
        """The largest file found that is at most `cap_bytes`; BudgetError when there is none.

        `start_adaptation` begins to adapt the unquantized tensors to those already rounded, which are then rounded one
        at a time.
        """
        predicted = predicted or self.predict_for_size(cap_bytes, progress)
        self._factors = predicted.factors
        plan = self._plan(predicted.step_scale)
        search, step_scale = _Search(cap_bytes, self._pack, self._overhead), predicted.step_scale
        if start_adaptation is None:
            weights, last = self._weights, sorted(self._factors, key=lambda name: self._weights[name].size)
            search.accept(self._full(plan.tensors, weights, progress))
        else:
            weights, last, finer = self._round_sequentially(
                plan, search, start_adaptation(list(self._weights)), progress
            )
            step_scale *= 2.0**-finer
        moved = self._close_the_gap(search, weights, last, step_scale, progress)
        self._overhead = search.overhead
        if search.best is None:
            # Every file came out over the cap: so near to the smallest one that single tensors cannot close the gap.
            refuse_small_cap(self.smallest() + search.slack, cap_bytes)
            return self.fit_to_size(cap_bytes - search.slack, progress, start_adaptation=start_adaptation)
        data, rounded_tensors = search.best
        return FitResult(
            plan=dataclasses.replace(plan, tensors=tuple(rounded_tensors[t.name].plan for t in plan.tensors)),
            model=QuantizedModel({name: entry.stored for name, entry in rounded_tensors.items()}),
            data=data,
            loss=sum(entry.loss for entry in rounded_tensors.values()) if start_adaptation is None else predicted.loss,
            losses={name: entry.loss for name, entry in rounded_tensors.items()},
            predicted_bytes=predicted.size_bytes,
            roundings=1 + moved / self._numbers,
        )

    def _close_the_gap(
        self, search: _Search, weights: dict[str, Floats], last: list[str], step_scale: float, progress: Progress
    ) -> int:
        """Round some tensors again until the file has result; the number of weights that were."""
        rounded, before, forward_fn = 0, 0.0, 1.0
        for _ in range(MAX_ROUNDS):
            gap = search.gap()
            if gap is None:
                return rounded
            if abs(before) > 2 * search.slack:
                # Tables grow with their integers, so an octave may give more than expected. Where it gave less, the
                # next round goes on from there: larger moves swing in tiny models.
                forward_fn = min(max(forward_fn * min(max((before - gap) / before, 0.5), 2.0), 1.0), MAX_RESPONSE)
            step_scale, plans = self._adjusted(
                search, (0.6 if gap * before < 0 else 1) * gap / forward_fn, last, step_scale
            )
            before = gap
            if plans:
                progress.note(f"{gap:+,.0f} bytes left; {len(plans)} tensors rounded again")
                search.accept(self._full(plans, weights, progress))
                rounded += sum(math.prod(plan.shape) for plan in plans)
            elif gap > 0:
                search.finest = True
                progress.note("no weight can be stored more finely, what is left stays free")
            else:
                break
        search.mix()
        return rounded

    def _adjusted(
        self, search: _Search, gap_bytes: float, last: list[str], step_scale: float
    ) -> tuple[float, list[TensorPlan]]:
        """Tensors with other steps that take up the gap, as far as they can: few of them, or all by another κ."""
        sizes = coded_bytes({name: entry.estimate for name, entry in search.rounded_tensors.items()})
        gives = {
            name: _bytes_per_octave(sizes[name], self._weights[name].size) for name in (*self._factors, *self._vectors)
        }
        if gap_bytes < 0:  # what is all zero has no more to give
            last = [name for name in last if search.rounded_tensors[name].stored.weights().any()]
        given = 0.0
        for count, name in enumerate(last, 1):
            given += gives[name]
            octaves = gap_bytes / given
            if abs(octaves) <= MAX_OCTAVES:
                plans = [self._representable(search.rounded_tensors[name].plan.finer(octaves)) for name in last[:count]]
                break
        else:
            octaves = float(np.clip(gap_bytes / max(sum(gives.values()), 1), -1, 1))
            step_scale = min(max(step_scale * 2.0**-octaves, MIN_STEP_SCALE), MAX_STEP_SCALE)
            plans = list(self._plan(step_scale).tensors)
        return step_scale, [plan for plan in plans if plan != search.rounded_tensors[plan.name].plan]

    def _round_sequentially(
        self, plan: BitPlan, search: _Search, adapt: Adapt, progress: Progress
    ) -> tuple[dict[str, Floats], list[str], float]:
        """Tensor after tensor, the others adapted to each: the weights that were rounded, tensors from the last on, and
        by how many octaves the last steps were finer than planned.

        Tables are shared, so what the open tensors will take is asked of the cheap pass at every turn.
        """
        weights, order = dict(self._weights), _rounding_order(plan)
        finer = 0.0
        for turn, name in enumerate(order):
            coming = [tensor.finer(finer) for tensor in plan.tensors if tensor.name not in search.rounded_tensors]
            known = {
                name: entry[0]
                for name, entry in estimate_pass(coming, weights, self._factors, self._config.rate).items()
            }
            known |= {name: entry.estimate for name, entry in search.rounded_tensors.items()}
            left = sum(self._weights[other].size for other in order[turn:])
            off = search.target_bytes() - search.overhead - sum(coded_bytes(known).values())
            finer += float(np.clip(8 * off / left, -MAX_OCTAVES, MAX_OCTAVES))
            coming = [tensor.finer(finer) for tensor in plan.tensors if tensor.name not in search.rounded_tensors]
            search.accept(self._full([tensor for tensor in coming if tensor.name == name], weights, progress))
            errors = {t.name: _root_mean_square_error(t) for t in coming if t.format == ROW_COLUMN and t.name != name}
            adapted = adapt(name, search.rounded_tensors[name].stored.weights(), errors)
            weights |= {n: _matrix(w) if n in self._factors else w for n, w in adapted.items()}
            progress.update(turn + 1, len(order), f"rounded {name}, the others adapted")
        search.accept(self._full([t for t in plan.tensors if t.format != ROW_COLUMN], weights, progress))
        search.rounded_tensors = {
            name: search.rounded_tensors[name] for name in self._weights
        }  # as the file has them, not as they came
        return weights, order[::-1], finer

    def _full(
        self, plans: Iterable[TensorPlan], weights: dict[str, Floats], progress: Progress
    ) -> dict[str, RoundedTensor]:
        return rounding_pass(plans, weights, self._factors, self._config.rate, progress)

    def _plan(self, step_scale: float) -> BitPlan:
        plan = allocate(self._shapes, self._factors, step_scale, self._config, self._made_from, self._vectors)
        return dataclasses.replace(plan, tensors=tuple(self._representable(tensor) for tensor in plan.tensors))

    def _representable(self, plan: TensorPlan) -> TensorPlan:
        """With steps so fine that integers of 16 bits would not reach the largest weights, the finest that do."""
        if plan.format != ROW_COLUMN:
            return plan
        weight, most = np.abs(self._weights[plan.name]), MAX_LEVEL if plan.states != SCALAR else MAX_LEVEL / 2
        codes = plan.codes()
        if float(weight.max()) <= most * plan.base * 2.0 ** ((int(codes[0].min()) + int(codes[1].min())) / 4):
            return plan
        finest = float((weight / make_steps(1.0, *codes)).max()) / most
        return dataclasses.replace(plan, base=float(np.float32(max(plan.base, finest))))

    def _initial_step_scale(self, cap_bytes: int) -> float:
        """From the mean of log2 of weight over relative step, at the bits that the cap leaves for each weight."""
        plan = self._plan(1.0)
        octaves = 0.0
        for tensor in plan.tensors:
            if tensor.format == ROW_COLUMN:
                weight = self._weights[tensor.name]
                spread = math.log2(float(np.sqrt(np.mean(weight.astype(np.float64) ** 2))) + 1e-30)
                steps = (sum(tensor.row_codes) / weight.shape[0] + sum(tensor.column_codes) / weight.shape[1]) / 4
                octaves += weight.size * (spread - math.log2(tensor.base) - steps)
        bits = 8 * max(cap_bytes - self._overhead, 1) / max(self._count, 1)
        return float(min(max(2.0 ** (octaves / max(self._count, 1) + 1.05 - bits), MIN_STEP_SCALE), MAX_STEP_SCALE))


def _matrix(weight: Floats) -> Floats:
    """A convolution of width 1 as what it is."""
    return weight.reshape(weight.shape[:2])


def refuse_small_cap(smallest_bytes: int, cap_bytes: int) -> None:
    """BudgetError when even the smallest file is over the cap."""
    if smallest_bytes > cap_bytes:
        raise BudgetError(
            f"a cap of {cap_bytes:,} bytes cannot be met: this model, tokenizer and header take at least "
            f"{smallest_bytes:,} bytes, with every weight of linear maps and embeddings rounded to zero. Raise the "
            "cap, or train a model with fewer or narrower layers or a smaller vocabulary",
            smallest_bytes=smallest_bytes,
            cap_bytes=cap_bytes,
        )


def _bytes_per_octave(size_bytes: float, weights: int) -> float:
    """Bytes that steps finer by an octave are expected to add: a bit for each weight, or less where they have few bits.

    R / (R + 1/2) bits at R bits per weight is within 0.1 of what was measured from 0.2 to 4.8 (docs/lab_notes.md).
    """
    rate = max(8 * size_bytes / weights, 1 / 64)
    return weights / 8 * rate / (rate + HALF_RESPONSE_BITS)


def _rounding_order(plan: BitPlan) -> list[str]:
    """The largest first, so that little is left to round when nothing is left to make up for it."""
    stepped = [tensor for tensor in plan.tensors if tensor.format == ROW_COLUMN]
    return [tensor.name for tensor in sorted(stepped, key=lambda tensor: -math.prod(tensor.shape))]


def _root_mean_square_error(plan: TensorPlan) -> float:
    """Of rounding a tensor at its steps, without feedback."""
    steps = make_steps(plan.base, *plan.codes())
    return math.sqrt(STEP_MSE * float(np.square(steps, dtype=np.float64).mean()))
