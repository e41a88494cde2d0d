"""Matrix products on CPU by the quicker library, forward and backward.

PyTorch leaves float32 products on CPU to MKL, which takes its AVX2 path on processors that are not Intel's: on an AMD
EPYC with AVX-512 it reached 115 GFLOP/s a core where oneDNN reached 180 to 270. On an Intel Xeon both reach 120 to 135,
and MKL loses less time with each product, so there it is left to MKL (docs/lab_notes.md). Where the library
has no oneDNN, or an argument is not float32 on CPU, PyTorch's own product is taken.

Inside `bfloat16_operands()` operands are rounded to bfloat16 first, where the processor multiplies those natively (AMX,
AVX512_BF16), twice as quickly on that EPYC. Sums are float32, and rounded to bfloat16 once, when they are complete.

Letters: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import has_torch_function

from bytecap.core.device import cpu_name

_MIN_BATCHED = 128
"""Rows and columns from which a batch of products is quicker one by one."""


_operands: torch.dtype = torch.float32
"""Operands as `narrowed` returns them."""


def has_bfloat16() -> bool:
    """True where the processor multiplies bfloat16 natively and oneDNN takes it."""
    cpu = torch.cpu
    native = any(
        getattr(cpu, name, lambda: False)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return native and _has_onednn() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextmanager
def bfloat16_operands(on: bool) -> Iterator[None]:
    """Where `on`, products whose operands are made here have bfloat16 ones; their gradients too, also later on."""
    global _operands
    before, _operands = _operands, torch.bfloat16 if on else torch.float32
    try:
        yield
    finally:
        _operands = before


def operand_type() -> torch.dtype:
    """float32, or what `bfloat16_operands` says."""
    return _operands


def narrowed(x: Tensor) -> Tensor:
    """A float32 operand of a `product`, rounded where `bfloat16_operands` says so."""
    return x.to(_operands)


def linear(x: Tensor, weight_OI: Tensor) -> Tensor:
    """x Wᵀ, (..., I) to (..., O), with gradients. Whoever intercepts PyTorch's functions sees `F.linear`."""
    if not suits(x, weight_OI) or has_torch_function((x, weight_OI)):
        return F.linear(x, weight_OI)
    if torch.is_grad_enabled() and (x.requires_grad or weight_OI.requires_grad):
        return _Linear.apply(x, weight_OI)  # type: ignore[no-any-return, no-untyped-call]
    return product(x, weight_OI)


def product(x_NI: Tensor, weight_OI: Tensor) -> Tensor:
    """x Wᵀ without gradients, float32. Both must be float32 on CPU, or of one kind by `narrowed`, and `suits` must have
    said that oneDNN is there."""
    if x_NI.dtype == torch.float32 and _mkl_is_quicker():
        return torch.ops.aten.linear(x_NI, weight_OI)  # type: ignore[no-any-return]
    return torch.ops.mkldnn._linear_pointwise(x_NI, _dense(weight_OI), None, "none", [], "").float()  # type: ignore[no-any-return]


def add_product(sum_NO: Tensor, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
    """A new tensor, sum + x Wᵀ, of float32 under the conditions of `product`."""
    binary = torch.ops.mkldnn._linear_pointwise.binary
    return binary(x_NI, sum_NO, _dense(weight_OI), None, "add")  # type: ignore[no-any-return]


def batched_product(left_NOI: Tensor, right_NIP: Tensor) -> Tensor:
    """left right of each pair, (N, O, P), without gradients, on any device and in any precision."""
    if min(*left_NOI.shape[1:], right_NIP.size(-1)) < _MIN_BATCHED or not suits(left_NOI, right_NIP):
        return left_NOI @ right_NIP
    pairs = zip(left_NOI.unbind(), right_NIP.mT.unbind(), strict=True)
    return torch.stack([product(left_OI, right_PI) for left_OI, right_PI in pairs])


def _dense(weight_OI: Tensor) -> Tensor:
    """A copy where neither rows nor columns lie one after the other: there oneDNN is hundreds of times slower."""
    return weight_OI if weight_OI.is_contiguous() or weight_OI.mT.is_contiguous() else weight_OI.contiguous()


def suits(*tensors: Tensor) -> bool:
    """True where products of these tensors go through oneDNN."""
    if torch.compiler.is_compiling():  # it fuses and chooses products by itself
        return False
    return all(t.dtype == torch.float32 and t.device.type == "cpu" and t.numel() > 0 for t in tensors) and _has_onednn()


@cache
def _mkl_is_quicker() -> bool:
    """True on Intel's processors, where MKL takes its AVX-512 path."""
    has_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return has_mkl and "intel" in cpu_name().lower()


@cache
def _has_onednn() -> bool:
    """The operator is not part of PyTorch's documented interface, so it is tried before it is trusted."""
    x_NI, weight_OI = torch.eye(3, 4), torch.arange(8.0).view(2, 4)
    try:
        found, summed = product(x_NI, weight_OI), add_product(torch.ones(3, 2), x_NI, weight_OI)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return torch.equal(found, weight_OI[:, :3].T) and torch.equal(summed, found + 1)


class _Linear(torch.autograd.Function):
    """x Wᵀ and its two gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor) -> Tensor:
        x, weight_OI = narrowed(x), narrowed(weight_OI)
        ctx.save_for_backward(x, weight_OI)
        return product(x, weight_OI)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight_OI = ctx.saved_tensors
        gradient = gradient.contiguous().to(x.dtype)
        x_gradient = product(gradient, weight_OI.T) if ctx.needs_input_grad[0] else None
        weight_gradient = None
        if ctx.needs_input_grad[1]:
            x_NI, gradient_NO = x.reshape(-1, x.size(-1)), gradient.view(-1, gradient.size(-1))
            weight_gradient = product_over_rows(gradient_NO, x_NI)
        return x_gradient, weight_gradient


def product_over_rows(left_NO: Tensor, right_NI: Tensor) -> Tensor:
    """leftᵀ right, (O, I), under the conditions of `product`; the narrower of the two is the one to be transposed."""
    if left_NO.size(1) <= right_NI.size(1):
        return product(left_NO.T, right_NI.T)
    return product(right_NI.T, left_NO.T).T.contiguous()
