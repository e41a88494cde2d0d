"""The skeleton of one block: attention, then MLP, each on the normalised stream, each added with a scale.

Letters: B sequences, T positions, D width, F MLP width.
Source:  openai/parameter-golf's baseline; squared ReLU from Primer, arXiv 2109.08668; SwiGLU, arXiv 2002.05202;
         a block with norms of its own and nothing else, Llama, arXiv 2302.13971;
         the scale 1/√(i + 1) of a block's input as in openai/parameter-golf #332, leaky ReLU(0.5)² as in #1586.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.elementwise import rms_norm, squared, squared_relu
from bytecap.model.attention import Attention
from bytecap.model.hooks import Techniques
from bytecap.model.layers import Linear, RMSNorm
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
        self.down = Linear(spec.d_ff, spec.d_model, zero=True, to_stream=True)
        if self.activation == "swiglu":
            self.gate = Linear(spec.d_model, spec.d_ff)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        up_BTF = self.up(x_BTD)
        if self.activation == "relu2":
            active_BTF = squared_relu(up_BTF)
        elif self.activation == "leaky_relu2":
            active_BTF = squared(F.leaky_relu(up_BTF, LEAKY_SLOPE))
        elif self.activation == "gelu":
            active_BTF = F.gelu(up_BTF)
        else:
            active_BTF = F.silu(self.gate(x_BTD)) * up_BTF
        return self.down(active_BTF)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and MLP. Each has a scale for each channel that starts at 1; a Llama block has weights in its norms."""

    roles: ClassVar[dict[str, Role]] = {"attention_scale": Role.SCALAR, "mlp_scale": Role.SCALAR}
    attention_scale: nn.Parameter | None
    mlp_scale: nn.Parameter | None

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        llama = spec.block == "llama"
        self.attention = Attention(spec)
        self.mlp = MLP(spec)
        self.middle = nn.Identity()  # where others can see the stream between the two
        self.ln_scale = spec.ln_scale
        self.attention_norm: Callable[[Tensor], Tensor] = RMSNorm(spec.d_model) if llama else rms_norm
        self.mlp_norm: Callable[[Tensor], Tensor] = RMSNorm(spec.d_model) if llama else rms_norm
        self.attention_scale = None if llama else nn.Parameter(torch.ones(spec.d_model))
        self.mlp_scale = None if llama else nn.Parameter(torch.ones(spec.d_model))

    def forward(self, stream_BTD: Tensor, visit: Visit, context: Context, techniques: Techniques) -> Tensor:
        """The residual stream after this block."""
        input_BTD = self._shrink(self.attention_norm(stream_BTD), visit)
        attended_BTD = _scale(self.attention(input_BTD, visit, context, techniques), self.attention_scale)
        stream_BTD = stream_BTD[:, context.dropped :] if visit.last else stream_BTD
        stream_BTD = self.middle(stream_BTD + techniques.attention_output(attended_BTD, visit, context))
        input_BTD = self._shrink(self.mlp_norm(techniques.mlp_input(stream_BTD, visit, context)), visit)
        mlp_BTD = _scale(self.mlp(input_BTD), self.mlp_scale)
        return stream_BTD + techniques.mlp_output(mlp_BTD, visit, context)

    def _shrink(self, normed_BTD: Tensor, visit: Visit) -> Tensor:
        """The normalised stream as attention and MLP of this block read it."""
        return normed_BTD * (visit.block + 1) ** -0.5 if self.ln_scale else normed_BTD


def _scale(update_BTD: Tensor, scale_D: Tensor | None) -> Tensor:
    """What attention or MLP adds, channel by channel, where the block has such scales."""
    return update_BTD if scale_D is None else scale_D.to(update_BTD.dtype) * update_BTD
