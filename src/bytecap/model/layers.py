"""The layers everything is made of: a linear map without bias, an RMS norm with weights; their precision."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from bytecap.core.elementwise import rms_norm
from bytecap.core.products import linear
from bytecap.model.roles import Role


class Linear(nn.Module):
    """y = x Wᵀ, W of shape (O, I); starts uniform within ±1/√I, or at zero.

    `to_stream` says that y is added to the residual stream; `train/initialization.py`, which has other starts, asks.
    """

    roles: ClassVar[dict[str, Role]] = {"weight": Role.MATRIX}

    def __init__(self, inputs: int, outputs: int, *, zero: bool = False, to_stream: bool = False) -> None:
        super().__init__()
        self.to_stream = to_stream
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        if not zero:
            nn.init.uniform_(self.weight, -(inputs**-0.5), inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., O), in the precision of x: weights are kept in float32 and cast when used."""
        return linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """RMS norm with a learned factor for each channel, which starts at 1."""

    roles: ClassVar[dict[str, Role]] = {"weight": Role.SCALAR}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D), in the precision of x."""
        return rms_norm(x) * self.weight.to(x.dtype)


def activation_dtype(device: torch.device) -> torch.dtype:
    """float32, or the autocast type where autocast is on."""
    if torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return torch.float32
