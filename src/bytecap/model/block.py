"""The skeleton of one block: attention, then MLP, each on the normalised stream, each added with a scale.

Letters: B sequences, T positions, D width, F MLP width.
Source:  openai/parameter-golf's baseline; squared ReLU from Primer, arXiv 2109.08668.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.model.attention import Attention
from bytecap.model.hooks import Techniques
from bytecap.model.layers import Linear, norm
from bytecap.model.roles import Role
from bytecap.model.spec import ModelSpec
from bytecap.model.techniques.base import Context, Visit


class MLP(nn.Module):
    """Up, squared ReLU, down."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.up = Linear(spec.d_model, spec.d_ff)
        self.down = Linear(spec.d_ff, spec.d_model, zero=True)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.down(F.relu(self.up(x_BTD)).square())  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and MLP, each with a scale for each channel that starts at 1."""

    roles: ClassVar[dict[str, Role]] = {"attention_scale": Role.SCALAR, "mlp_scale": Role.SCALAR}

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.attention = Attention(spec)
        self.mlp = MLP(spec)
        self.attention_scale = nn.Parameter(torch.ones(spec.d_model))
        self.mlp_scale = nn.Parameter(torch.ones(spec.d_model))

    def forward(self, stream_BTD: Tensor, visit: Visit, context: Context, techniques: Techniques) -> Tensor:
        """The residual stream after this block."""
        attended_BTD = self.attention(norm(stream_BTD), visit, context, techniques)
        attended_BTD = self.attention_scale.to(stream_BTD.dtype) * attended_BTD
        stream_BTD = stream_BTD + techniques.attention_output(attended_BTD, visit, context)
        mlp_BTD = self.mlp(norm(techniques.mlp_input(stream_BTD, visit, context)))
        mlp_BTD = self.mlp_scale.to(stream_BTD.dtype) * mlp_BTD
        return stream_BTD + techniques.mlp_output(mlp_BTD, visit, context)
