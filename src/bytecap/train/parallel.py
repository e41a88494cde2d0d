"""Data parallel training: each process runs its rows of the same global batch, and all take the same steps.

In:   the gradients of this process's rows, rank 0's clock, whatever signals came in.
Out:  the gradients of the whole batch, and one decision for all.

A single process is the world of size 1, where all of this gives back what it got.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from bytecap.core.distributed import all_reduce, gather_numbers, world
from bytecap.core.errors import ConfigError


class Decision(NamedTuple):
    """What all processes do after a step."""

    stop: int | None
    """A signal that one of them got."""
    save: bool
    """True when a checkpoint is due by rank 0's clock."""


def rows_of_rank(batch: int, micro_batch: int | None) -> slice:
    """The rows of a global batch that this process runs: every `world().size`-th.

    ConfigError where the processes cannot have equally many rows, or equally many at once.
    """
    size = world().size
    if batch % size:
        raise ConfigError(
            f"train.batch is {batch} and torchrun has started {size} processes (WORLD_SIZE), which do not divide it; "
            "choose a batch that they divide, or other --nproc_per_node"
        )
    each = batch // size
    if micro_batch is not None and each > micro_batch and each % micro_batch:
        raise ConfigError(
            f"train.batch {batch} over {size} processes (WORLD_SIZE) gives each {each} sequences, which "
            f"train.micro_batch {micro_batch} does not divide; choose another micro_batch"
        )
    return slice(world().rank, None, size)


def sum_gradients(model: nn.Module, loss: Tensor) -> None:
    """Add up over all processes the loss and every gradient of `model`, each of this process's part of the batch."""
    all_reduce([loss, *(p.grad for p in model.parameters() if p.grad is not None)])


def agreed_progress(progress: float) -> float:
    """The progress by rank 0's clock."""
    return gather_numbers([progress])[0][0]


def decide(stop: int | None, save: bool) -> Decision:
    """One decision out of what each process has found: a signal anywhere stops all, rank 0 tells when to save."""
    found = gather_numbers([float(stop or 0), float(save)])
    signal = int(max(number for number, _ in found))
    return Decision(signal or None, bool(found[0][1]))
