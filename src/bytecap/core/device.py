"""The device a run uses, and how its arithmetic is set up."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from bytecap.core.distributed import world
from bytecap.core.errors import BackendError, ConfigError


def choose_device(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda` or `cuda:N`; BackendError when it is not there.

    Of several processes on one machine each takes the GPU of its own number.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if world().size > 1 and name.startswith("cuda"):
        if name != "cuda":
            raise ConfigError(f"--device is {name}, and several processes cannot share one GPU; use --device cuda")
        name = f"cuda:{world().local_rank}"
    if name != "cpu" and not name.startswith("cuda"):
        raise ConfigError(f"--device is {name!r}; it must be auto, cpu, cuda or cuda:N")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise BackendError(
            f"--device {name} was asked for but PyTorch {torch.__version__} sees no GPU; use --device cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device is {name!r}; it must be auto, cpu, cuda or cuda:N") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.index is not None and device.index >= count:
        raise BackendError(f"--device {name} was asked for but there are {count}, counted from 0{_too_many()}")
    return device


def _too_many() -> str:
    return "; start fewer processes a machine with --nproc_per_node" if world().size > 1 else ""


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 autocast on a GPU; float32 on a CPU."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


@contextmanager
def threads_at_most(count: int | None) -> Iterator[None]:
    """PyTorch works with at most so many threads inside (None: as many as it has), and as many as before afterwards."""
    before = torch.get_num_threads()
    if count is not None and count < before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on `device`; a GPU is not waited for."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def hardware(device: torch.device) -> dict[str, Any]:
    """The device name, threads, and versions of Python and PyTorch."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {
        "device": device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
    }


def cpu_name() -> str:
    """The processor's name as the system gives it, such as "Intel(R) Xeon(R) Processor"."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
