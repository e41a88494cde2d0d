"""PyTorch's own float32 products on CPU through oneDNN, where that keeps them float32.

On an AMD EPYC with AVX-512 oneDNN is about twice as fast as MKL (core/products.py has operators of its own for our
models; this is for everybody's).
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

_FASTER = "medium"
_ROUNDED = 1e-5
"""Relative error of a sum of 256 products that float32 stays far below (5e-7) and bfloat16 far above (8e-4)."""


@contextmanager
def onednn_float32(on: bool) -> Iterator[None]:
    """Where `on`, PyTorch's own float32 products on CPU go through oneDNN as well, if they stay float32 there.

    PyTorch has a switch for it alone that also allows oneDNN to round operands to bfloat16, which it does where the
    processor has units for such matrices: AMX, or those of ARM. There the switch is left alone.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(_FASTER if on and _faster_is_float32() else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _faster_is_float32() -> bool:
    """True on processors that are known to keep float32, and where a product shows it."""
    if platform.machine().lower() not in ("x86_64", "amd64") or _has_amx():
        return False
    random = torch.Generator().manual_seed(0)
    left, right = (torch.rand(256, 256, generator=random) for _ in range(2))
    exact, before = left.double() @ right.double(), torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(_FASTER)
        found = left @ right
    finally:
        torch.set_float32_matmul_precision(before)
    return float((found.double() / exact - 1).abs().max()) < _ROUNDED


def _has_amx() -> bool:
    """True where the processor has AMX, or PyTorch does not say."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: True)())
