"""The job of fitting any torch module: measured on batches, some of which are kept to tell its true loss on.

In:   a module, batches, a loss.
Out:  a FitJob.

Letters: N positions, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bytecap.artifact.pack import Provenance
from bytecap.core.budget import FileBudget
from bytecap.core.errors import ConfigError, NumericsError
from bytecap.core.progress import Progress, Silent
from bytecap.core.units import counted
from bytecap.fitting.job import Container, FitJob, build_job, refuse_small_caps
from bytecap.fitting.source import WeightSource, source_from_module
from bytecap.fitting.true_loss import CHECKED_POSITIONS, TrueLoss
from bytecap.model.roles import Role
from bytecap.quant.adaptation import Adapter, make_adapter
from bytecap.quant.allocation import MODEL, QuantConfig
from bytecap.quant.calibration import CalibrationOptions, calibrate
from bytecap.quant.outputs import ModelOutput
from bytecap.quant.statistics import Calibration

MIN_LOSS = 1e-3
"""Nats by which the loss of a position may be negative, from rounding."""
APART = 4
"""One batch of so many is kept apart where calibration is thin."""


@dataclass(frozen=True)
class ModuleInputs:
    """The batches and the loss of a module's fit, and its settings."""

    batches: Iterable[Any]
    loss: Callable[[nn.Module, Any], Any]
    config: QuantConfig
    seed: int


@dataclass
class _Reading:
    """Batches read until so many positions are measured; the last of them are remembered."""

    inputs: ModuleInputs
    positions: int = 0
    n_batches: int = 0
    last: deque[tuple[Any, int]] = field(default_factory=deque)
    """Batches with their positions, the fewest that have `CHECKED_POSITIONS` together."""

    def forward_fn(self, model: nn.Module, batch: Any) -> ModelOutput:
        """What the loss function gives, checked and counted."""
        output = _checked(self.inputs.loss(model, batch))
        self.positions += output.numel() if isinstance(output, Tensor) else len(output[0])
        return output

    def read(self, n_batches: int | None = None) -> Iterator[Any]:
        """The batches from the first on, at most so many."""
        for batch in itertools.islice(self.inputs.batches, n_batches):
            if self.positions >= self.inputs.config.calibration_tokens:
                return
            before = self.positions
            yield batch
            self.n_batches += 1
            self.last.append((batch, self.positions - before))
            while sum(count for _, count in self.last) - self.last[0][1] >= CHECKED_POSITIONS:
                self.last.popleft()


def make_module_job(model: nn.Module, inputs: ModuleInputs, budget: FileBudget, progress: Progress) -> FitJob:
    """Measure the model and make the job of its fit, if a file can be so small; raises what `bytecap.fit` raises."""
    source, calibration, true_loss = source_from_module(model), None, None
    batches, config = inputs.batches, inputs.config
    provenance = Provenance(
        recipe_digest="", corpus_digest="", checkpoint_digest=source.digest, tokenizer_digest="", lossless=False,
        context=1,
    )  # fmt: skip
    container = Container(provenance)
    refuse_small_caps(source, config, container, [budget])

    def begin(names: list[str]) -> Adapter:
        count = min(-(-config.compensation_tokens * reading.n_batches // max(reading.positions, 1)), reading.n_batches)
        return make_adapter(model, names, itertools.cycle(batches), _Reading(inputs).forward_fn, config, count)

    reading = _Reading(inputs)
    if config.calibration_tokens:
        calibration, apart = _measure(model, source, reading, progress)
        _name_unmeasured(source, calibration, progress)
        if apart and not config.adapts:
            true_loss = TrueLoss(model, _Reading(inputs).forward_fn, apart, source.aliases)
    start_adaptation = begin if config.adapts else None
    return build_job(source, calibration, config, container, start_adaptation, true_loss=true_loss)


def _measure(
    model: nn.Module, source: WeightSource, reading: _Reading, progress: Progress
) -> tuple[Calibration, list[Any]]:
    """The calibration, and batches to tell a true loss on: the last ones, not measured on where there are few.

    None at all where those show nothing that was not measured: what curvature misses, they would miss too.
    """
    inputs = reading.inputs
    calibration = _calibrate(model, source, reading, None, progress)
    kept = reading.n_batches // APART or min(reading.n_batches - 1, 1)
    once = inputs.config.adapts or iter(inputs.batches) is inputs.batches
    if calibration.min_damping == 0 or kept == 0 or once:
        return calibration, [batch for batch, _ in reading.last]
    measured = reading.n_batches - kept
    fewer = _calibrate(model, source, _Reading(inputs), measured, Silent())
    if 2 * APART * (calibration.distinct - fewer.distinct) < calibration.distinct:
        progress.note("the last quarter of it repeats the rest, so there is nothing to compare the fit on")
        return calibration, []
    return fewer, list(itertools.islice(inputs.batches, measured, reading.n_batches))


def _calibrate(
    model: nn.Module, source: WeightSource, reading: _Reading, n_batches: int | None, progress: Progress
) -> Calibration:
    config = reading.inputs.config
    device = next(model.parameters()).device
    options = CalibrationOptions(
        sampled=config.labels == MODEL, generator=torch.Generator(device).manual_seed(reading.inputs.seed),
        squares=False, total_tokens=config.calibration_tokens,
    )  # fmt: skip
    return calibrate(
        model,
        reading.read(n_batches),
        reading.forward_fn,
        source_digest=source.digest,
        progress=progress,
        options=options,
    )


def _name_unmeasured(source: WeightSource, calibration: Calibration, progress: Progress) -> None:
    """Say of which weights only the squares of gradients are known."""
    found = calibration.tensors
    others = [
        s.name for s in source.shapes
        if s.role != Role.SCALAR and (s.name not in found or found[s.name].inputs_II.ndim == 1)
    ]  # fmt: skip
    if others:
        progress.note(
            f"{counted(len(others), 'tensor')} used in other ways than linear maps, convolutions and embeddings, with "
            f"steps by gradients alone: {', '.join(others[:5])}{' ..' if len(others) > 5 else ''}"
        )


def _checked(value: Any) -> ModelOutput:
    """What a loss function may give; ConfigError for anything else."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Tensor) and value[1] is None:
        return _real(value[0]), None
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, Tensor) for part in value):
        logits, label = value
        whole = not (label.is_floating_point() or label.is_complex() or label.dtype == torch.bool)
        if whole and logits.is_floating_point() and logits.ndim > 1:
            return _positions(logits.flatten(0, -2), label.flatten().long())
        found = f"tensors of {logits.dtype} {tuple(logits.shape)} and {label.dtype} {tuple(label.shape)}"
    elif isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0:
        least = float(value.detach().min()) if value.numel() else 0.0
        if math.isnan(least):
            raise NumericsError("loss(model, batch) gave NaN; look at the batch, and at the model's outputs for it")
        if least > -MIN_LOSS:
            return value
        found = f"losses down to {least:.3g}, such as logits are"
    else:
        found = f"a tensor of {value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else _kind(value)
    raise ConfigError(
        f"loss(model, batch) gave {found}; it must return (logits (N, V), whole labels (N,)); (real outputs (N, K), "
        "None); or a tensor with the loss of each position in nats, not their mean"
    )


def _real(outputs: Tensor) -> Tensor:
    """Real outputs as (N, K), the last axis kept."""
    if not outputs.is_floating_point() or outputs.ndim < 2:
        raise ConfigError(
            f"loss(model, batch) gave outputs of {outputs.dtype} {tuple(outputs.shape)} without labels; real outputs "
            "are floating-point numbers (N, K), a row for each position, such as outputs[:, None] of single numbers"
        )
    if not bool(torch.isfinite(outputs.detach()).all()):
        raise NumericsError("loss(model, batch) gave NaN or infinity; look at the batch, and at the outputs for it")
    return outputs.flatten(0, -2)


def _kind(value: Any) -> str:
    parts = f" of {', '.join(type(part).__name__ for part in value)}" if isinstance(value, tuple) else ""
    return f"a {type(value).__name__}{parts}"


def _positions(logits_NV: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
    """The positions without those that a negative label marks as not to be looked at."""
    if label_N.numel() != logits_NV.size(0) or (label_N >= logits_NV.size(1)).any():
        raise ConfigError(
            f"loss(model, batch) gave logits {tuple(logits_NV.shape)} and {label_N.numel():,} labels up to "
            f"{int(label_N.max())}; there must be one label for each position, below the number of logits"
        )
    kept_N = label_N >= 0
    return (logits_NV, label_N) if bool(kept_N.all()) else (logits_NV[kept_N], label_N[kept_N])
