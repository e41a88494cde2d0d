"""Rotary positions: queries and keys are turned by an angle that grows with the position.

Letters: T positions, K head width, R channels that turn (the first R of K).
Source:  RoFormer, arXiv 2104.09864; halves instead of neighbouring pairs, as in GPT-NeoX and the naive baseline;
         part of the head as in GPT-NeoX, arXiv 2204.06745.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(
    positions: int, rotary_dims: int, base: float, device: torch.device, *, begin: int = 0
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the positions from `begin` on, (T, R/2), float32."""
    frequencies = base ** (-torch.arange(0, rotary_dims, 2, dtype=torch.float64, device=device) / rotary_dims)
    angles_TK = torch.outer(torch.arange(begin, begin + positions, dtype=torch.float64, device=device), frequencies)
    return angles_TK.cos().float(), angles_TK.sin().float()


def rotate(heads_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Turn each pair (channel i, channel i + R/2) of the first R channels by its angle; the other channels stay."""
    half = cos_TK.size(-1)
    first, second, rest = heads_BHTK.tensor_split((half, 2 * half), dim=-1)
    cos_TK, sin_TK = cos_TK.to(first.dtype), sin_TK.to(first.dtype)
    return torch.cat((first * cos_TK + second * sin_TK, second * cos_TK - first * sin_TK, rest), dim=-1)
