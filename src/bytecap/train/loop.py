"""Training for a number of seconds or steps.

In:   a TrainingJob: settings with a budget in seconds (or in steps), a ModelSpec, a token stream.
Out:  a finished checkpoint and `metrics.jsonl`.

Letters: B sequences, T positions.

Progress follows the time spent, so the learning rate is at its floor in the last step on a fast and on a slow machine.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bytecap.core.allocator import keep_freed_memory
from bytecap.core.device import autocast, on_device, threads_at_most
from bytecap.core.distributed import broadcast, from_main, gather, refuse_differences, said_by_main, together, world
from bytecap.core.errors import SIGNAL_NAMES, DataError, NumericsError, Stopped
from bytecap.core.files import append, keep_lines
from bytecap.core.products import bfloat16_operands
from bytecap.core.progress import Progress
from bytecap.core.signals import deferred
from bytecap.core.stopwatch import Stopwatch
from bytecap.formats.plan import ScaleRule
from bytecap.model.gpt import GPT
from bytecap.model.mean_loss import mean_loss
from bytecap.model.spec import ModelSpec
from bytecap.text.batches import TrainBatches
from bytecap.text.shards import TokenStream
from bytecap.train.arithmetic import choose_arithmetic, compiling
from bytecap.train.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    TrainingState,
    load_checkpoint,
    save_checkpoint,
)
from bytecap.train.config import BFLOAT16, LAST, TrainConfig
from bytecap.train.initialization import initialize
from bytecap.train.optimizers import Optimizers
from bytecap.train.parallel import agreed_progress, decide, rows_of_rank, sum_gradients
from bytecap.train.run_hooks import RunHooks
from bytecap.train.schedules import progress_at, progress_before_step
from bytecap.train.threads import threads_of_run

METRICS = "metrics.jsonl"
"""A line for each step: step, seconds, tokens, loss in nats per token, learning rate of the matrices."""
_SPEED_MEMORY = 0.9
"""Share of the old estimate kept when a step's seconds are averaged."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """Everything that determines the result of a training run."""

    config: TrainConfig
    spec: ModelSpec
    stream: TokenStream
    bos: int
    seed: int
    """Seed of the first weights and of the order of the text."""
    tokens: str
    """Digest of the tokens."""
    made_from: tuple[str, ...]
    """Digest of recipe and tokens, then those that older versions gave to the same."""
    grids: Mapping[str, ScaleRule] = field(default_factory=dict)
    """The grid of each weight that is to be stored on one, for fake quantization."""
    plan_steps: Callable[[GPT], Mapping[str, torch.Tensor]] | None = None
    """The step that our own fit would give each weight of a model under the run's cap, without tensors that keep 16
    bits."""


class Trainer:
    """One training run: model, optimizers, data and seconds spent, resumable between any two steps."""

    def __init__(self, job: TrainingJob, folder: Path, device: torch.device, progress: Progress) -> None:
        self.job, self.config = job, job.config
        self.folder, self.device, self.progress = folder, device, progress
        with together():
            continued = self._build()
        refuse_differences({"the digest of recipe and tokens": job.made_from[0], "the checkpoint": continued})
        broadcast(self.model.state_dict().values())  # an initialisation may round otherwise on another machine
        self.stopwatch = Stopwatch(self.state.seconds)
        self._loss: Callable[..., torch.Tensor] = partial(mean_loss, self.model)
        if device.type == "cuda" and self.config.compile and not self.state.finished:
            self.compile()
        self._step_seconds = self.state.seconds / self.state.step if self.state.step else 0.0

    def _build(self) -> str:
        """Model, optimizers, hooks and data, as they were when the run was saved; which checkpoint that was."""
        job, config = self.job, self.config
        config.check_hooks(job.spec)
        rows = rows_of_rank(config.batch, config.micro_batch)
        torch.manual_seed(job.seed)
        self.model = initialize(GPT(job.spec)).to(self.device)
        self.optimizers = Optimizers(self.model, config.optimizer)
        self.hooks = RunHooks(job, self.model)
        self.state = TrainingState()
        continued = self._resume()
        if not self.state.finished:
            self._arithmetic = choose_arithmetic(job, self.model, self.device, self.progress)
            self.state = self._arithmetic.noted_in(self.state)
        shape = {"batch": config.batch, "context": config.context}
        self.batches = TrainBatches(job.stream, **shape, seed=job.seed, position=self.state.position, share=rows)
        return continued

    def run(self) -> TrainingState:
        """Train to the end of the budget, saving on the way."""
        if self.state.finished:
            return self.state
        if self.device.type == "cpu":
            keep_freed_memory()
        self.model.train()
        saved_at = self.stopwatch.seconds
        native = bfloat16_operands(self._arithmetic.precision == BFLOAT16)
        with deferred() as stop, native, threads_at_most(None):
            progress, threads = 0.0, threads_of_run(self.config, self.device)
            while progress < 1.0:
                progress = agreed_progress(self._progress())
                if threads.run(self._step, progress, self.stopwatch, self.progress):
                    self._step_seconds = 0.0  # not known for another number of threads
                due = progress < 1.0 and self.stopwatch.seconds - saved_at >= self.config.checkpoint_seconds
                decision = decide(stop.number, due)
                if decision.stop is not None:
                    self._save()
                    reason = f"stopped by {SIGNAL_NAMES[decision.stop]} at step {self.state.step:,}"
                    raise Stopped(decision.stop, f"{reason}; saved, run the same command to go on")
                if decision.save:
                    self._save()
                    saved_at = self.stopwatch.seconds
        self._finish()
        return self.state

    def _progress(self) -> float:
        """Progress of the step about to run; it never falls, so that no phase is left again when a step was slow."""
        if self.config.steps is not None:
            return progress_at(self.state.step, self.config.steps, 1.0)
        budget = self.config.seconds - self._step_seconds  # one step in reserve: the last ones may be slow
        found = progress_at(self.stopwatch.seconds, budget, self._step_seconds)
        return max(found, self.state.progress)

    def _step(self, progress: float) -> None:
        begin = self.stopwatch.seconds
        self.hooks.before_step(progress)
        total = self._accumulate_gradients(progress)
        sum_gradients(self.model, total)
        self.hooks.after_backward(progress)
        loss, schedule = float(total), progress
        if self.config.optimizer.last_step_moves:
            schedule = progress_before_step(progress, self.state.step)
        rate = self.optimizers.matrix_rate(schedule)
        if not math.isfinite(loss):
            raise said_by_main(self._not_finite(loss, rate))
        self.optimizers.step(schedule)
        self.hooks.after_step(progress)
        spent = self.stopwatch.seconds - begin
        first = self._step_seconds == 0.0 or self.state.step < 2
        self._step_seconds = spent if first else _SPEED_MEMORY * self._step_seconds + (1 - _SPEED_MEMORY) * spent
        self.state = dataclasses.replace(
            self.state,
            step=self.state.step + 1,
            progress=progress,
            seconds=self.stopwatch.seconds,
            tokens=self.state.tokens + self.config.batch * self.config.context,
            position=self.batches.position,
            loss=loss,
        )
        self._log(rate)

    def _accumulate_gradients(self, progress: float) -> torch.Tensor:
        """Run the next batch in parts; this process's share of its mean loss, whose gradients are added up."""
        rows = torch.from_numpy(self.batches.next())
        micro = self.config.micro_batch or self.config.batch
        total = torch.zeros((), device=self.device)
        for begin in range(0, len(rows), micro):
            part = slice(begin, begin + micro)
            loss = self._mean_loss(rows[part], self.batches.starts[part], progress)
            loss = loss * (len(rows[part]) / (len(rows) * world().size))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _log(self, rate: float) -> None:
        """Append the step that is done to the metrics, and show it."""
        state = self.state
        row = {"step": state.step, "seconds": round(state.seconds, 3), "tokens": state.tokens}
        row |= {"loss": round(state.loss, 5), "rate": round(rate, 7)}
        if world().is_main:
            append(self.folder / METRICS, json.dumps(row) + "\n")
        steps, speed = self.config.steps, state.tokens / max(state.seconds, 1e-9)
        done, total = (state.seconds, self.config.seconds) if steps is None else (float(state.step), float(steps))
        text = f"step {state.step:,}  loss {state.loss:.3f} nats/token  {speed:,.0f} tokens/s"
        self.progress.update(done, total, text)

    def _mean_loss(self, rows_BT: torch.Tensor, starts: Sequence[int], progress: float) -> torch.Tensor:
        rows_BT, mixture = self.hooks.rows(rows_BT, progress), self.hooks.mixture(starts, progress)
        capacity = self._arithmetic.capacity
        max_documents = None if capacity is None else capacity(rows_BT)
        rows_BT = on_device(rows_BT, self.device)
        tokens_BT, target_BT = rows_BT[:, :-1], rows_BT[:, 1:]
        with autocast(self.device):
            return self._loss(tokens_BT, target_BT, self.job.bos, mixture=mixture, max_documents=max_documents)

    def compile(self, **options: Any) -> None:
        """Compile every graph that the rest of the run will see, on random tokens, while the stopwatch is paused."""
        begin = time.perf_counter()
        with self.stopwatch.paused(), compiling():
            self._loss = partial(torch.compile(mean_loss, dynamic=False, **options), self.model)
            each = self.config.batch // world().size
            micro = min(self.config.micro_batch or each, each)
            rows = torch.randint(self.job.spec.vocab_size, (micro, self.config.context + 1))
            for progress in self.hooks.phases(self.state.progress):
                self.hooks.before_step(progress, ahead=True)
                self._mean_loss(rows, [0] * micro, progress).backward()  # type: ignore[no-untyped-call]
                self.model.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            gather(None)  # the time counts from when the last process is ready
        spent = time.perf_counter() - begin
        self.state = dataclasses.replace(self.state, compile_seconds=self.state.compile_seconds + spent)

    def _resume(self) -> str:
        """Resume from the folder's checkpoint if there is one; what tells it from others."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            self._keep_metrics(0)  # of steps before a first checkpoint that never came
            return "none"
        saved = load_checkpoint(path)
        if saved.made_from not in self.job.made_from:
            raise DataError(
                f"{path} was made from another recipe or other tokens ({saved.made_from}, needed "
                f"{self.job.made_from[0]}); choose another --out",
                path=str(path),
            )
        saved.load_into(self.model)
        self.state = saved.progressed
        if not self.state.finished:
            self.optimizers.load_state_tensors(saved.optimizer)
            self.hooks.load_states(saved.hooks, self.device)
        self.progress.note(f"continuing from step {self.state.step:,} at {self.state.seconds:.1f} s")
        if saved.digest is None:
            self.progress.note("the checkpoint is of an older version, without a digest that would show damage")
        self._keep_metrics(self.state.step)  # later steps will be made again
        return f"that of step {self.state.step:,} with digest {saved.digest}"

    def _keep_metrics(self, steps: int) -> None:
        if world().is_main:
            keep_lines(self.folder / METRICS, steps)

    def _save(self) -> None:
        """What is needed to resume from here."""
        self._write(
            weights=self.model.state_dict(),
            optimizer=self.optimizers.state_tensors(),
            hooks=self.hooks.states(),
        )

    def _finish(self) -> None:
        """The weights that the settings name, and all others there are."""
        last = self.model.state_dict()
        weights = {LAST: last} | {name: {**last, **given} for name, given in self.hooks.weights().items()}
        self.state = dataclasses.replace(self.state, finished=True)
        exported = self.config.exported_weights
        kept = self.hooks.states(finished=True)
        self._write(weights=weights.pop(exported), exported=exported, other_weights=weights, hooks=kept)

    def _write(self, **content: Any) -> None:
        with self.stopwatch.paused():
            saved = Checkpoint(
                spec=self.job.spec, made_from=self.job.made_from[0], tokens=self.job.tokens,
                context=self.config.context, progressed=self.state, **content,
            )  # fmt: skip
            from_main(lambda: save_checkpoint(self.folder / CHECKPOINT, saved))

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
