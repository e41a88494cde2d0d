"""Which implementation of attention a pass takes: this file alone decides, and a run's record names what it decided.

| device, type of the activations | a document or a window is seen | everything before is seen |
|---|---|---|
| CPU, float32, rows long enough for blocks to pay | blocks of queries | blocks of queries |
| CUDA, bfloat16 or float16, FlashAttention is there | varlen | sdpa |
| any other | sdpa with a document mask | sdpa |

"varlen" is `torch.nn.attention.varlen.varlen_attn`: documents lie one behind the other and nothing is computed between
two of them. Where it cannot be had on a GPU the choice says why.

Source:  PyTorch 2.11 to 2.13: windows since pytorch/pytorch #172245, groups of heads since #179468 (2.12). Not taken:
         flex_attention, which outside a compiled graph, as in scoring, makes the scores of all pairs.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from bytecap.model.attention_blocks import blocks_pay
from bytecap.model.attention_segments import attend_segments, document_segments
from bytecap.model.layers import activation_dtype

AttentionKind: TypeAlias = Literal["blocks of queries", "varlen", "sdpa", "sdpa with a document mask"]
MAX_HEAD_WIDTH = 256
_TOLERANCE = 0.05
"""Relative difference that the check lets pass, in 16 bits."""


class AttentionChoice(NamedTuple):
    """An implementation of attention."""

    kind: AttentionKind
    reason: str = ""
    """Why it is not "varlen", on a GPU."""

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason})" if self.reason else self.kind


def choose_attention(weight: Tensor, *, queries: int, d_head: int, plain: bool) -> AttentionChoice:
    """The implementation for rows of `queries` queries; `weight` is any of the model.

    `plain` says that each position sees everything before it. While a graph is compiled nothing can be tried out, so
    there "varlen" is never chosen: who compiles asks before, and gives `max_documents` to the pass.
    """
    if blocks_pay(queries, d_head, weight):
        return AttentionChoice("blocks of queries")
    if plain:
        return AttentionChoice("sdpa")
    if weight.device.type != "cuda" or torch.compiler.is_compiling():
        return AttentionChoice("sdpa with a document mask")
    reason = varlen_obstacle(weight.device, activation_dtype(weight.device), d_head)
    return AttentionChoice("sdpa with a document mask", reason) if reason else AttentionChoice("varlen")


@cache
def varlen_obstacle(device: torch.device, dtype: torch.dtype, d_head: int) -> str:
    """Why variable-length attention cannot be used on a GPU; empty where it can."""
    if torch.version.hip:
        return "variable-length attention was never tried on ROCm"
    if not torch.backends.cuda.is_flash_attention_available():
        return f"PyTorch {torch.__version__} was built without FlashAttention"
    if (capability := torch.cuda.get_device_capability(device)) < (8, 0):
        return f"the GPU has compute capability {capability[0]}.{capability[1]}; variable-length attention needs 8.0"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"activations are {str(dtype)[6:]}; variable-length attention takes bfloat16 and float16"
    if d_head % 8 or d_head > MAX_HEAD_WIDTH:
        return f"heads have {d_head} channels; variable-length attention takes multiples of 8 up to {MAX_HEAD_WIDTH}"
    try:
        difference = check_varlen(device, dtype, d_head)
    except (ImportError, RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        return f"variable-length attention failed its check: {' '.join(str(error).split())[:200]}"
    if not difference < _TOLERANCE:
        return f"variable-length attention failed its check: it is off by {difference:.2g}"
    return ""


def check_varlen(device: torch.device, dtype: torch.dtype, d_head: int) -> float:
    """Difference between variable-length attention and attention with a mask, gradients included: the largest of each
    tensor as a share of its largest number.

    Two rows of 40 positions in three documents, two heads that share keys, slots that stay empty.
    """
    random = torch.Generator().manual_seed(0)
    document_BT = (torch.arange(40) >= torch.tensor([[17], [99]])).long().to(device)
    segments = document_segments(document_BT, queries=40, max_documents=6)
    seen_B1TT = (document_BT[:, None, :, None] == document_BT[:, None, None, :]).tril()
    drawn = [torch.randn(2, heads, 40, d_head, generator=random).to(device, dtype) for heads in (2, 1, 1, 2)]
    found = []
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        for exact in (True, False):
            query, key, value, weight = (x.float() if exact else x.clone() for x in drawn)
            inputs = [x.requires_grad_() for x in (query, key, value)]
            if exact:
                mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen_B1TT, enable_gqa=True)
            else:
                mixed = attend_segments(query, key, value, segments)
            found.append([mixed.detach(), *torch.autograd.grad((mixed * weight).sum(), inputs)])
    return max(float((b - a).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))
