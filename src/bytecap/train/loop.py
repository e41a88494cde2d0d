"""Training under a clock.

In:   a ModelSpec, a token stream, a budget in seconds (or in steps).
Out:  a finished checkpoint, `metrics.jsonl`, a TrainResult.

Letters: B sequences, T positions.

Progress follows the clock, so the learning rate is at its floor in the last step on a fast and on a slow machine.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bytecap.core.allocator import keep_freed_memory
from bytecap.core.clock import Clock
from bytecap.core.device import autocast
from bytecap.core.errors import SIGNAL_NAMES, ConfigError, DataError, NumericsError, Stopped
from bytecap.core.files import append, keep_lines
from bytecap.core.progress import Progress
from bytecap.core.signals import deferred
from bytecap.model.gpt import GPT
from bytecap.model.spec import ModelSpec
from bytecap.text.batches import TrainBatches
from bytecap.text.shards import TokenStream
from bytecap.train.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    TrainingState,
    build_model,
    load_checkpoint,
    save_checkpoint,
)
from bytecap.train.optimizers import OptimizerConfig, Optimizers
from bytecap.train.schedules import progress_at

METRICS = "metrics.jsonl"
"""A line for each step: step, seconds, tokens, loss in nats per token, learning rate of the matrices."""
_SPEED_MEMORY = 0.9
"""Share of the old estimate kept when a step's seconds are averaged."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The clock, the batch and the optimizers."""

    seconds: float = 600.0
    """Wall-clock budget of training; compilation and checkpoints are not charged."""
    steps: int | None = None
    """A budget in steps instead of seconds, for runs that must repeat exactly."""
    batch: int = 16
    """Sequences B in each optimizer step."""
    micro_batch: int | None = None
    """Sequences run at once; gradients accumulate over batch / micro_batch. None: the whole batch."""
    context: int = 256
    """Positions T of each sequence."""
    checkpoint_seconds: float = 30.0
    """Seconds between checkpoints."""
    compile: bool = True
    """Whether a GPU run is compiled; a CPU run never is."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Learning rates and schedules."""

    def __post_init__(self) -> None:
        """ConfigError for budgets and batches that cannot be."""
        if self.seconds <= 0 or (self.steps is not None and self.steps < 1):
            raise ConfigError("train.seconds and train.steps must be positive")
        if self.batch < 1 or self.context < 2:
            raise ConfigError("train.batch must be at least 1 and train.context at least 2")
        if self.micro_batch is not None and (self.micro_batch < 1 or self.batch % self.micro_batch):
            raise ConfigError(f"train.micro_batch {self.micro_batch} must divide train.batch {self.batch}")


class Trainer:
    """One training run: model, optimizers, data and clock, resumable between any two steps."""

    def __init__(
        self,
        config: TrainConfig,
        spec: ModelSpec,
        stream: TokenStream,
        *,
        bos: int,
        seed: int,
        device: torch.device,
        folder: Path,
        made_from: str,
        tokens: str,
        progress: Progress,
        older_names: tuple[str, ...] = (),
    ) -> None:
        self.config, self.spec, self.bos, self.device = config, spec, bos, device
        self.folder, self.made_from, self.tokens, self.progress = folder, made_from, tokens, progress
        self.known_as = (made_from, *older_names)
        torch.manual_seed(seed)
        self.model = build_model(spec).to(device)
        self.optimizers = Optimizers(self.model, config.optimizer, device)
        self.state = TrainingState()
        saved = self._resume()
        self.batches = TrainBatches(
            stream, batch=config.batch, context=config.context, seed=seed, position=self.state.position
        )
        self.clock = Clock(self.state.seconds)
        self._loss = self._loss_function()
        self._step_seconds = saved.progressed.seconds / saved.progressed.step if saved and self.state.step else 0.0

    def run(self) -> TrainingState:
        """Train to the end of the budget, saving on the way."""
        if self.state.finished:
            return self.state
        if self.device.type == "cpu":
            keep_freed_memory()
        self.model.train()
        saved_at = self.clock.seconds
        with deferred() as stop:
            progress = 0.0
            while progress < 1.0:
                progress = self._progress()
                self._step(progress)
                if stop.number is not None:
                    self._save()
                    raise Stopped(stop.number, self._stopped(stop.number))
                if progress < 1.0 and self.clock.seconds - saved_at >= self.config.checkpoint_seconds:
                    self._save()
                    saved_at = self.clock.seconds
        self.state = dataclasses.replace(self.state, finished=True)
        self._save()
        return self.state

    def _progress(self) -> float:
        if self.config.steps is not None:
            return progress_at(self.state.step, self.config.steps, 1.0)
        return progress_at(self.clock.seconds, self.config.seconds, self._step_seconds)

    def _step(self, progress: float) -> None:
        begin = self.clock.seconds
        rows = torch.from_numpy(self.batches.next())
        micro = self.config.micro_batch or self.config.batch
        total = torch.zeros((), device=self.device)
        for part in torch.split(rows, micro):
            loss = self._mean_loss(part.to(self.device)) * (part.size(0) / rows.size(0))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        value = float(total)
        rate = self.optimizers.matrix_rate(progress)
        if not math.isfinite(value):
            raise self._not_finite(value, rate)
        self.optimizers.step(progress)
        spent = self.clock.seconds - begin
        first = self._step_seconds == 0.0 or self.state.step < 2
        self._step_seconds = spent if first else _SPEED_MEMORY * self._step_seconds + (1 - _SPEED_MEMORY) * spent
        self.state = TrainingState(
            step=self.state.step + 1,
            seconds=self.clock.seconds,
            tokens=self.state.tokens + self.config.batch * self.config.context,
            position=self.batches.position,
            loss=value,
        )
        row = {"step": self.state.step, "seconds": round(self.state.seconds, 3), "tokens": self.state.tokens}
        row |= {"loss": round(value, 5), "rate": round(rate, 7)}
        append(self.folder / METRICS, json.dumps(row) + "\n")
        self._tell(value)

    def _mean_loss(self, rows_BT: torch.Tensor) -> torch.Tensor:
        tokens_BT, target_BT = rows_BT[:, :-1], rows_BT[:, 1:]
        with autocast(self.device):
            return self._loss(tokens_BT, target_BT, self.bos).mean()  # type: ignore[no-any-return]

    def _loss_function(self) -> Any:
        """The model itself, compiled on a GPU; compilation happens on random tokens before the clock starts."""
        if self.device.type != "cuda" or not self.config.compile:
            return self.model
        compiled = torch.compile(self.model, dynamic=False)
        with self.clock.paused():
            micro = self.config.micro_batch or self.config.batch
            rows = torch.randint(self.spec.vocab_size, (micro, self.config.context + 1), device=self.device)
            self._loss = compiled
            self._mean_loss(rows).backward()  # type: ignore[no-untyped-call]
            self.model.zero_grad(set_to_none=True)
            torch.cuda.synchronize(self.device)
        return compiled

    def _resume(self) -> Checkpoint | None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            keep_lines(self.folder / METRICS, 0)  # of steps before a first checkpoint that never came
            return None
        saved = load_checkpoint(path)
        if saved.made_from not in self.known_as:
            raise DataError(
                f"{path} was made from another recipe or other tokens ({saved.made_from}, needed {self.made_from}); "
                "choose another --out",
                path=str(path),
            )
        self.model.load_state_dict(saved.weights)
        self.optimizers.load_state_tensors(saved.optimizer)
        self.state = saved.progressed
        self.progress.note(f"continuing from step {self.state.step:,} at {self.state.seconds:.1f} s")
        if saved.digest is None:
            self.progress.note("the checkpoint is of an older version, without a digest that would show damage")
        keep_lines(self.folder / METRICS, self.state.step)  # later steps will be made again
        return saved

    def _save(self) -> None:
        with self.clock.paused():
            state = {} if self.state.finished else self.optimizers.state_tensors()
            path = self.folder / CHECKPOINT
            save_checkpoint(
                path, self.model, state, spec=self.spec, made_from=self.made_from, tokens=self.tokens,
                context=self.config.context, progressed=self.state,
            )  # fmt: skip

    def _tell(self, loss: float) -> None:
        state = self.state
        by_steps = self.config.steps is not None
        done, total = (state.step, self.config.steps) if by_steps else (state.seconds, self.config.seconds)
        speed = state.tokens / max(state.seconds, 1e-9)
        text = f"step {state.step:,}  loss {loss:.3f} nats/token  {speed:,.0f} tokens/s"
        self.progress.update(float(done), float(total or 0), text)

    def _stopped(self, number: int) -> str:
        return f"stopped by {SIGNAL_NAMES[number]} at step {self.state.step:,}; saved, run the same command to go on"

    def _not_finite(self, value: float, rate: float) -> NumericsError:
        path = self.folder / CHECKPOINT
        last = f"the last good checkpoint is {path}" if path.exists() else "there is no checkpoint yet"
        step = self.state.step + 1
        return NumericsError(
            f"the loss is {value} at step {step:,} (matrix learning rate {rate:g}); "
            f"{last}. Lower train.optimizer.matrix_lr or train.optimizer.embedding_lr",
            step=step,
            learning_rate=rate,
            checkpoint=str(path) if path.exists() else None,
        )


def trained_model(folder: Path) -> tuple[GPT, Checkpoint]:
    """The finished model in a run folder; DataError when training has not finished."""
    saved = load_checkpoint(folder / CHECKPOINT)
    if not saved.progressed.finished:
        raise DataError(f"training in {folder} has not finished; run `bytecap train` with the same --out to go on")
    return saved.model(), saved
