"""Rotary positions: queries and keys are turned by an angle that grows with the position.

Letters: T positions, K head width.
Source:  RoFormer, arXiv 2104.09864; halves instead of neighbouring pairs, as in GPT-NeoX and the naive baseline.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(positions: int, d_head: int, base: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of shape (T, K/2), float32."""
    frequencies = base ** (-torch.arange(0, d_head, 2, dtype=torch.float64, device=device) / d_head)
    angles_TK = torch.outer(torch.arange(positions, dtype=torch.float64, device=device), frequencies)
    return angles_TK.cos().float(), angles_TK.sin().float()


def rotate(heads_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Turn each pair (channel i, channel i + K/2) by its angle; the shape stays."""
    first, second = heads_BHTK.chunk(2, dim=-1)
    cos_TK, sin_TK = cos_TK.to(first.dtype), sin_TK.to(first.dtype)
    return torch.cat((first * cos_TK + second * sin_TK, second * cos_TK - first * sin_TK), dim=-1)
