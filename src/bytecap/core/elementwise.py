"""Operations of a training step on CPU with their gradients written out: fewer passes over memory than autograd makes.

Between two products a step reads and writes tensors that are larger than the processor's cache, and autograd does so
once for each operation and several times for its gradient. What is not float32 on CPU, needs no gradient or is being
compiled takes PyTorch's own operations.

Letters: N rows, D channels, T positions, K head width, R pairs of channels.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def written_out(*tensors: Tensor) -> bool:
    """True where gradients written out are used: in float32 on CPU, when a gradient is needed."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False
    plain = all(t.dtype == torch.float32 and t.device.type == "cpu" and t.numel() > 0 for t in tensors)
    return plain and any(t.requires_grad for t in tensors)


def rms_norm(x: Tensor) -> Tensor:
    """x divided by its root mean square over the last axis, as `F.rms_norm` does, in the precision of x."""
    if written_out(x) and _has_norm_gradient():
        return _RMSNorm.apply(x)  # type: ignore[no-any-return, no-untyped-call]
    return F.rms_norm(x, (x.size(-1),)).to(x.dtype)  # autocast on a GPU would leave it in float32


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)²."""
    if written_out(x):
        return _SquaredReLU.apply(x)  # type: ignore[no-any-return, no-untyped-call]
    return squared(F.relu(x))


def squared(x: Tensor) -> Tensor:
    """x², in the precision of x: autocast on a GPU takes powers in float32."""
    return x.square() if x.dtype == torch.float32 else x * x


def rotate_pairs(x_TK: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    """Each pair (channel i, channel i + R) of the first 2 R channels turned by its angle; the other channels stay.

    `x_TK` may have more axes before T. An angle of the other sign turns back.
    """
    if written_out(x_TK):
        return _RotatedPairs.apply(x_TK, cos_TR, sin_TR)  # type: ignore[no-any-return, no-untyped-call]
    half = cos_TR.size(-1)
    first, second, rest = x_TK.tensor_split((half, 2 * half), dim=-1)
    return torch.cat((first * cos_TR + second * sin_TR, second * cos_TR - first * sin_TR, rest), dim=-1)


def without_part_along(x: Tensor, direction: Tensor) -> Tensor:
    """x without its part along `direction`, over the last axis; a direction of zero takes nothing away."""
    if written_out(x, direction):
        return _WithoutPartAlong.apply(x, direction)  # type: ignore[no-any-return, no-untyped-call]
    unit = F.normalize(direction, dim=-1)
    return (x - (x * unit).sum(dim=-1, keepdim=True) * unit).to(x.dtype)  # autocast on a GPU sums in float32


def previous_rows(x_BTD: Tensor, first_BT: Tensor) -> Tensor:
    """Each row's left neighbour on the second axis, zero where `first_BT`; any axes behind it, gradients `written_out`.

    The first of each sequence must be among `first_BT`.
    """
    return _PreviousRows.apply(x_BTD, first_BT)  # type: ignore[no-any-return, no-untyped-call]


class _RMSNorm(torch.autograd.Function):
    """The gradient is that of PyTorch's weight normalisation, x g / |x|, given the length with epsilon in it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rows_ND = x.reshape(-1, x.size(-1))
        width = rows_ND.size(1)
        length_N1: Tensor = torch.linalg.vector_norm(rows_ND, dim=1, keepdim=True)
        length_N1 = length_N1.square_().add_(width * torch.finfo(x.dtype).eps).sqrt_()
        ctx.save_for_backward(rows_ND, length_N1)
        return (rows_ND * (length_N1.reciprocal() * math.sqrt(width))).view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        rows_ND, length_N1 = ctx.saved_tensors
        return _norm_gradient(gradient.reshape(rows_ND.shape), rows_ND, length_N1).view(gradient.shape)


def _norm_gradient(gradient_ND: Tensor, rows_ND: Tensor, length_N1: Tensor) -> Tensor:
    root_N1 = torch.full_like(length_N1, rows_ND.size(1) ** 0.5)
    interface = torch.ops.aten._weight_norm_interface_backward
    return interface(gradient_ND, rows_ND, root_N1, length_N1, 0)[0]  # type: ignore[no-any-return]


@cache
def _has_norm_gradient() -> bool:
    """The operator is not part of PyTorch's documented interface, so it is tried before it is trusted."""
    gradient_ND, rows_ND = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])
    length_N1 = torch.full((1, 1), 4.0)
    expected_ND = 2**0.5 / 4 * (gradient_ND - rows_ND * (gradient_ND * rows_ND).sum() / 16)
    try:
        return torch.allclose(_norm_gradient(gradient_ND, rows_ND, length_N1), expected_ND)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


class _SquaredReLU(torch.autograd.Function):
    """Twice the positive part times what comes back: negative numbers have a positive part of 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = F.relu(x)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return torch.mul(gradient, positive).mul_(2)


class _RotatedPairs(torch.autograd.Function):
    """What comes back is turned back."""

    @staticmethod
    def forward(ctx: Any, x_TK: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
        ctx.save_for_backward(cos_TR, sin_TR)
        return _rotated_pairs(x_TK, cos_TR, sin_TR)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_TK: Tensor) -> tuple[Tensor, None, None]:
        cos_TR, sin_TR = ctx.saved_tensors
        return _rotated_pairs(gradient_TK, cos_TR, -sin_TR), None, None


def _rotated_pairs(x_TK: Tensor, cos_TR: Tensor, sin_TR: Tensor) -> Tensor:
    half = cos_TR.size(-1)
    still = x_TK.size(-1) - 2 * half
    turned_TK = x_TK * F.pad(cos_TR.repeat(1, 2), (0, still), value=1.0)
    turned_TK[..., :half].addcmul_(x_TK[..., half : 2 * half], sin_TR)
    turned_TK[..., half : 2 * half].addcmul_(x_TK[..., :half], sin_TR, value=-1)
    return turned_TK


class _WithoutPartAlong(torch.autograd.Function):
    """x - c v with c = x·v / v·v; back come g - d v and -(d x + c g - 2 c d v), with d = g·v / v·v."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, direction: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
        inverse = length.clamp_(min=1e-12).square_().reciprocal_()
        part = (x * direction).sum(dim=-1, keepdim=True).mul_(inverse)
        ctx.save_for_backward(x, direction, inverse, part)
        return torch.addcmul(x, part, direction, value=-1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, direction, inverse, part = ctx.saved_tensors
        back = (gradient * direction).sum(dim=-1, keepdim=True).mul_(inverse)
        to_x = torch.addcmul(gradient, back, direction, value=-1)
        to_direction = torch.mul(direction, 2 * part * back).addcmul_(gradient, part, value=-1)
        to_direction.addcmul_(x, back, value=-1)
        return to_x, to_direction.sum_to_size(direction.shape)


class _PreviousRows(torch.autograd.Function):
    """What comes back goes to the left neighbour, unless the row is a first one."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, first_BT: Tensor) -> Tensor:
        ctx.first = first_BT.nonzero(as_tuple=True)
        previous_BTD = torch.empty_like(x_BTD)
        previous_BTD[:, 1:] = x_BTD[:, :-1]
        previous_BTD[ctx.first] = 0
        return previous_BTD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_BTD: Tensor) -> tuple[Tensor, None]:
        to_x_BTD = torch.empty_like(gradient_BTD)
        to_x_BTD[:, :-1] = gradient_BTD[:, 1:]
        to_x_BTD[:, -1] = 0
        sequence, row = ctx.first
        to_x_BTD[sequence[row > 0], row[row > 0] - 1] = 0
        return to_x_BTD, None
