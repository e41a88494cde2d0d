"""Cross-entropy of softcapped logits in blocks of positions that stay in the processor's cache.

Logits of all positions would be the largest tensors of a pass by far, and a dozen passes over them would take longer
than all its products. Here a block's logits are made, used and forgotten.

    c tanh(z / c) = c (2 s - 1),  s = sigmoid(2 z / c)
    loss = log sum exp(2 c s) - 2 c s[target]

Letters: N positions, R positions of a block, D width, V vocabulary.
Source:  Cut Your Losses, arXiv 2411.09009.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from bytecap.core.products import product, suits

MAX_SOFTCAP = 36.0
"""exp(2 c) and its sum over a vocabulary stay finite in float32."""
_BLOCK_LOGITS = 1 << 18
"""Logits of one block: 1 MiB, of which a few copies fit into the cache of one core."""
_MIN_ROWS = 64


def blocks_suit(hidden_ND: Tensor, embedding_VD: Tensor, softcap: float) -> bool:
    """True where this file can be used: float32 on CPU, a softcap, and one whose exponentials are finite."""
    return 0 < softcap <= MAX_SOFTCAP and suits(hidden_ND, embedding_VD)


def token_losses(hidden_ND: Tensor, embedding_VD: Tensor, target_N: Tensor, softcap: float) -> Tensor:
    """Nats of each target, (N,), without gradients."""
    found = [loss_R for _, loss_R, *_ in logit_blocks(hidden_ND.detach(), embedding_VD.detach(), target_N, softcap)]
    return torch.cat(found)


def logit_blocks(
    hidden_ND: Tensor, embedding_VD: Tensor, target_N: Tensor, softcap: float
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor, Tensor]]:
    """Each block's place, losses (R,), sigmoids s (R, V), exponentials exp(2 c s) (R, V) and their sums (R, 1)."""
    rows = max(_MIN_ROWS, _BLOCK_LOGITS // embedding_VD.size(0))
    # In float32, as the product below takes it: were the target's logit computed from the unrounded one, every loss
    # would be off by the same relative amount, which no sum over tokens takes away.
    exponent = torch.tensor(2 * softcap * math.log2(math.e), dtype=torch.float32).item()
    nats = exponent / math.log2(math.e)
    for begin in range(0, len(hidden_ND), rows):
        place = slice(begin, begin + rows)
        sigmoid_RV = product((hidden_ND[place] * (2 / softcap)).to(embedding_VD.dtype), embedding_VD).sigmoid_()
        exponential_RV = torch.mul(sigmoid_RV, exponent).exp2_()
        sum_R1 = exponential_RV.sum(-1, keepdim=True)
        at_target_R1 = sigmoid_RV.gather(-1, target_N[place, None])
        loss_R = (sum_R1.double().log() - nats * at_target_R1.double()).squeeze(-1).float()
        yield place, loss_R, sigmoid_RV, exponential_RV, sum_R1
