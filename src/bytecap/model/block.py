"""The skeleton of one block: attention, then MLP, each on the normalised stream, each added with a scale.

Letters: B sequences, T positions, D width, F MLP width.
Source:  openai/parameter-golf's baseline; squared ReLU from Primer, arXiv 2109.08668; SwiGLU, arXiv 2002.05202;
         the scale 1/√(i + 1) of a block's input as in openai/parameter-golf #332, leaky ReLU(0.5)² as in #1586.
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
from bytecap.model.spec import Activation, ModelSpec
from bytecap.model.techniques.base import Context, Visit

LEAKY_SLOPE = 0.5


class MLP(nn.Module):
    """Up, an activation, down; SwiGLU multiplies by a gate of the input too."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.activation: Activation = spec.activation
        self.up = Linear(spec.d_model, spec.d_ff)
        self.down = Linear(spec.d_ff, spec.d_model, zero=True)
        if self.activation == "swiglu":
            self.gate = Linear(spec.d_model, spec.d_ff)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        up_BTF = self.up(x_BTD)
        if self.activation == "relu2":
            active_BTF = F.relu(up_BTF).square()
        elif self.activation == "leaky_relu2":
            active_BTF = F.leaky_relu(up_BTF, LEAKY_SLOPE).square()
        elif self.activation == "gelu":
            active_BTF = F.gelu(up_BTF)
        else:
            active_BTF = F.silu(self.gate(x_BTD)) * up_BTF
        return self.down(active_BTF)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and MLP, each with a scale for each channel that starts at 1."""

    roles: ClassVar[dict[str, Role]] = {"attention_scale": Role.SCALAR, "mlp_scale": Role.SCALAR}

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.attention = Attention(spec)
        self.mlp = MLP(spec)
        self.ln_scale = spec.ln_scale
        self.attention_scale = nn.Parameter(torch.ones(spec.d_model))
        self.mlp_scale = nn.Parameter(torch.ones(spec.d_model))

    def forward(self, stream_BTD: Tensor, visit: Visit, context: Context, techniques: Techniques) -> Tensor:
        """The residual stream after this block."""
        attended_BTD = self.attention(self._input(stream_BTD, visit), visit, context, techniques)
        attended_BTD = self.attention_scale.to(stream_BTD.dtype) * attended_BTD
        stream_BTD = stream_BTD + techniques.attention_output(attended_BTD, visit, context)
        mlp_BTD = self.mlp(self._input(techniques.mlp_input(stream_BTD, visit, context), visit))
        mlp_BTD = self.mlp_scale.to(stream_BTD.dtype) * mlp_BTD
        return stream_BTD + techniques.mlp_output(mlp_BTD, visit, context)

    def _input(self, stream_BTD: Tensor, visit: Visit) -> Tensor:
        """The normalised stream as attention and MLP of this block read it."""
        normed_BTD = norm(stream_BTD)
        return normed_BTD * (visit.block + 1) ** -0.5 if self.ln_scale else normed_BTD
