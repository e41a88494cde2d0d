"""Rotary positions: queries and keys are turned by an angle that grows with the position.

Letters: T positions, K head width, R channels that turn (the first R of K).
Source:  RoFormer, arXiv 2104.09864; halves instead of neighbouring pairs, as in GPT-NeoX and the naive baseline;
         part of the head as in GPT-NeoX, arXiv 2204.06745.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from bytecap.core.elementwise import rotate_pairs


def rotary_table(
    positions: int, rotary_dims: int, base: float, device: torch.device, *, begin: int = 0
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the positions from `begin` on, (T, R/2), float32."""
    if begin:  # a long text asks for one stretch after the other: turning those of the first is quicker
        turned_TK = _first_turns(positions, rotary_dims, base, device) * _turns(begin, 1, rotary_dims, base, device)
        return turned_TK.real.float(), turned_TK.imag.float()
    angles_TK = _angles(0, positions, rotary_dims, base, device)
    return angles_TK.cos().float(), angles_TK.sin().float()


def _angles(begin: int, positions: int, rotary_dims: int, base: float, device: torch.device) -> Tensor:
    frequencies = base ** (-torch.arange(0, rotary_dims, 2, dtype=torch.float64, device=device) / rotary_dims)
    return torch.outer(torch.arange(begin, begin + positions, dtype=torch.float64, device=device), frequencies)


def _turns(begin: int, positions: int, rotary_dims: int, base: float, device: torch.device) -> Tensor:
    """cos + i sin, complex128."""
    angles_TK = _angles(begin, positions, rotary_dims, base, device)
    return torch.complex(angles_TK.cos(), angles_TK.sin())


@lru_cache(maxsize=4)
def _first_turns(positions: int, rotary_dims: int, base: float, device: torch.device) -> Tensor:
    return _turns(0, positions, rotary_dims, base, device)


def rotate(heads_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Turn each pair (channel i, channel i + R/2) of the first R channels by its angle; the other channels stay."""
    return rotate_pairs(heads_BHTK, cos_TK.to(heads_BHTK.dtype), sin_TK.to(heads_BHTK.dtype))
