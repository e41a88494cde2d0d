"""Several processes at one run, started by torchrun: who this one is, and the few things that all do together.

In:   the variables that torchrun sets; a single process is the world of size 1, where everything here does nothing.
Out:  World, and collectives that every process of the world must reach in the same order.

Processes talk through one group for tensors (gloo on CPU, NCCL on CUDA) and one for short words (gloo), whose members
may wait for hours while rank 0 works alone. Words travel as JSON, never as Python objects. torch is imported where
there is more than one process, as this file is on the command line's way to `--help`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from bytecap.core.errors import BackendError, BytecapError, ConfigError, DataError, Stopped, exit_code_for

if TYPE_CHECKING:
    from torch import Tensor

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets for each process: the only environment variables that bytecap reads."""
STEP_MINUTES, WAIT_DAYS = 30, 30
"""How long a process waits for the others in the middle of work, and while rank 0 works alone."""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class World:
    """All processes of a run as one of them sees them."""

    rank: int = 0
    """The number of this process; only rank 0 writes files and prints."""
    size: int = 1
    local_rank: int = 0
    """The number of this process on its machine, which is also that of its GPU."""

    @property
    def is_main(self) -> bool:
        """True on rank 0, which writes files and prints."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """The pieces of work, out of `count` equal ones, that this process does: every `size`-th."""
        return range(self.rank, count, self.size)


SINGLE = World()
_world = SINGLE
_words: Any = None
"""The group for short words."""


def world() -> World:
    """The processes that work together now: one, outside `joined` and while rank 0 works alone."""
    return _world


def torchrun_world(variables: Mapping[str, str] | None = None) -> World:
    """The values of torchrun's variables; ConfigError where only some are set, or one is not a valid number."""
    values = os.environ if variables is None else variables
    there = [name for name in VARIABLES if values.get(name)]
    if not there:
        return SINGLE
    if missing := [name for name in VARIABLES if name not in there]:
        raise ConfigError(
            f"of the variables that torchrun sets, {', '.join(there)} {'is' if len(there) == 1 else 'are'} set and "
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not; start with torchrun, or unset them all"
        )
    numbers = {}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        if not (values[name].isascii() and values[name].isdecimal() and len(values[name]) < 7):
            raise ConfigError(
                f"{name} is {values[name][:40]!r}; torchrun sets it to a whole number, start with torchrun"
            )
        numbers[name] = int(values[name])
    rank, size, local = numbers.values()
    if not (rank < size and local <= rank):
        raise ConfigError(
            f"RANK is {rank}, LOCAL_RANK is {local} and WORLD_SIZE is {size}; a rank lies below WORLD_SIZE and is no "
            "smaller than LOCAL_RANK, start with torchrun"
        )
    return World(rank, size, local)


@contextmanager
def joined() -> Iterator[World]:
    """Run the block as one of the processes that torchrun has started; without torchrun the world has size 1.

    ConfigError as of `torchrun_world`, BackendError where the others cannot be reached. When an error leaves the block
    the world stays known, so that what is said about it carries the rank.
    """
    global _world, _words
    found = torchrun_world()
    if found.size == 1:
        yield found
        return
    torch = _torch()
    distributed = torch.distributed
    on_cuda = torch.cuda.is_available() and distributed.is_nccl_available()
    if on_cuda:
        torch.cuda.set_device(found.local_rank % torch.cuda.device_count())
    _world = found
    with _reaching_others():
        backend, timeout = "cpu:gloo,cuda:nccl" if on_cuda else "gloo", timedelta(minutes=STEP_MINUTES)
        distributed.init_process_group(backend, rank=found.rank, world_size=found.size, timeout=timeout)
        _words = distributed.new_group(backend="gloo", timeout=timedelta(days=WAIT_DAYS))
    yield found
    gather(None)  # nobody leaves while another still needs it
    distributed.destroy_process_group()
    _world, _words = SINGLE, None


@contextmanager
def alone() -> Iterator[None]:
    """Run the block in a world of size 1, whatever the other processes do."""
    global _world
    here = _world
    _world = SINGLE
    try:
        yield
    finally:
        _world = here


@contextmanager
def together() -> Iterator[None]:
    """Run the block in every process by itself; where one of them fails, all end.

    The lowest rank that failed raises its error, and the others exit silently with its exit code. No
    collective may stand inside.
    """
    failed: BaseException | None = None
    try:
        yield
    except BaseException as error:
        if world().size == 1:
            raise
        failed = error
    if world().size > 1:
        _raise_lowest(failed, gather(_code(failed)))


def from_main(work: Callable[[], _Value]) -> _Value:
    """What `work` gives on rank 0, where it runs as in a world of one while the others wait; a JSON value.

    An error of it ends all processes, as in `together`. A tuple arrives as a list.
    """
    if world().size == 1:
        return work()
    value, failed = None, None
    if world().is_main:
        try:
            with alone():
                value = work()
        except BaseException as error:
            failed = error
    said = gather([_code(failed), value])
    _raise_lowest(failed, [code for code, _ in said])
    return said[0][1]  # type: ignore[no-any-return]


def gather(value: Any) -> list[Any]:
    """The JSON values of all processes, by rank."""
    if world().size == 1:
        return [value]
    torch = _torch()
    data = json.dumps(value).encode()
    with _reaching_others():
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(world().size)]
        torch.distributed.all_gather(lengths, torch.tensor([len(data)]), group=_words)
        longest = max(int(length) for length in lengths)
        mine = torch.zeros(longest, dtype=torch.uint8)
        mine[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        pieces = [torch.empty_like(mine) for _ in lengths]
        torch.distributed.all_gather(pieces, mine, group=_words)
    return [json.loads(piece[: int(length)].numpy().tobytes()) for piece, length in zip(pieces, lengths, strict=True)]


def said_by_main(error: BytecapError | Stopped) -> BaseException:
    """The exception to raise where all processes found the same: `error` on rank 0, a silent exit on the others."""
    return error if world().is_main else SystemExit(exit_code_for(error))


def refuse_differences(facts: Mapping[str, str]) -> None:
    """Raise DataError where the `facts` of the processes differ, naming the first that does and its process."""
    every = gather(dict(facts))
    for name in facts:
        for rank, other in enumerate(every):
            if other[name] != every[0][name]:
                raise said_by_main(
                    DataError(
                        f"the processes of this run see different data: {name} is {every[0][name]} on rank 0 and "
                        f"{other[name]} on rank {rank}; give all machines the same files and start again"
                    )
                )


def all_reduce(tensors: list[Tensor]) -> None:
    """Put into each tensor its sum over all processes; all are of one device. Those of a type travel as one."""
    if world().size == 1 or not tensors:
        return
    torch = _torch()
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        parts = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([part.flatten() for part in parts])
        with _reaching_others():
            torch.distributed.all_reduce(flat)
        pieces = torch.split(flat, [part.numel() for part in parts])
        for part, piece in zip(parts, pieces, strict=True):
            part.copy_(piece.view_as(part))


def all_gather(mine_NOI: Tensor) -> Tensor:
    """The equally large pieces of all processes, one behind the other by rank along the first dimension."""
    if world().size == 1:
        return mine_NOI
    torch = _torch()
    whole = mine_NOI.new_empty((world().size * mine_NOI.size(0), *mine_NOI.shape[1:]))
    with _reaching_others():
        torch.distributed.all_gather(list(whole.chunk(world().size)), mine_NOI.contiguous())
    return whole


def broadcast(tensors: Iterable[Tensor], source: int = 0) -> None:
    """Give each tensor the values that it has on rank `source`; all are of one device, and contiguous."""
    if world().size == 1:
        return
    torch = _torch()
    for tensor in tensors:
        with _reaching_others():
            torch.distributed.broadcast(tensor, src=source)


def gather_numbers(mine: list[float]) -> list[list[float]]:
    """The numbers of all processes by rank, equally many of each; quicker than `gather`, for every step."""
    if world().size == 1:
        return [mine]
    torch = _torch()
    pieces = [torch.empty(len(mine), dtype=torch.float64) for _ in range(world().size)]
    with _reaching_others():
        torch.distributed.all_gather(pieces, torch.tensor(mine, dtype=torch.float64), group=_words)
    return [piece.tolist() for piece in pieces]


def _torch() -> Any:
    import torch  # noqa: PLC0415  (see above)

    return torch


def _code(error: BaseException | None) -> int | None:
    """The exit code of the error that ended the work; None where nothing did."""
    if error is None:
        return None
    if isinstance(error, SystemExit):
        return int(error.code or 0) if isinstance(error.code, int | None) else 1
    return exit_code_for(error) if isinstance(error, (BytecapError, Stopped)) else 1


def _raise_lowest(mine: BaseException | None, codes: list[int | None]) -> None:
    failed = [rank for rank, code in enumerate(codes) if code is not None]
    if not failed:
        return
    if mine is not None and (world().rank == failed[0] or not isinstance(mine, (BytecapError, Stopped))):
        raise mine
    raise SystemExit(codes[failed[0]])


@contextmanager
def _reaching_others() -> Iterator[None]:
    """Turn what a broken connection raises into BackendError on ranks 0 and 1; the others exit silently."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        failed = BackendError(
            "another process of this run has ended or cannot be reached, so this one cannot go on; what was saved is "
            "kept, run the same command to go on from there, with as many processes as you like"
        )
        if world().rank > 1:
            raise SystemExit(failed.exit_code) from error
        raise failed from error
