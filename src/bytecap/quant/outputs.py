"""What a model gives at each position, and how far another model's is from it.

In:   what a forward function returned: logits with labels, real numbers without, or losses.
Out:  the divergence of one position in nats.

Real numbers are the means of normal distributions of variance 1, so half the squared difference is the divergence, and
targets can be drawn from the model as labels are.

Letters: N positions, V vocabulary, K numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

ModelOutput: TypeAlias = tuple[Tensor, Tensor | None] | Tensor
"""Logits (N, V) and labels (N,); real outputs (N, K) and None; or the loss of each position in nats (N,)."""
ForwardFn: TypeAlias = Callable[[nn.Module, Any], ModelOutput]
"""A forward pass of a model on a batch."""


class Kind(Enum):
    """What the numbers of a position are."""

    LOG_PROBABILITIES = "log-probabilities"
    REAL = "real outputs"
    LOSSES = "losses"


@dataclass(frozen=True)
class Positions:
    """The outputs of one model at some positions, in the form in which they are compared."""

    kind: Kind
    values: Tensor
    """(N, V), (N, K) or, of losses, (N,)."""

    @property
    def is_exact(self) -> bool:
        """Return whether a divergence from them depends on the model alone, and not on labels too."""
        return self.kind != Kind.LOSSES

    def digest(self) -> bytes | None:
        """Equal for equal outputs; None of losses, which depend on labels too."""
        if not self.is_exact:
            return None
        return hashlib.blake2b(self.values.detach().cpu().contiguous().numpy().data).digest()

    def divergence(self, other: Positions) -> Tensor:
        """KL(these || the other's) by position, (N,); of losses by how much the other's are larger."""
        if self.kind == Kind.LOG_PROBABILITIES:
            return nn.functional.kl_div(other.values, self.values, log_target=True, reduction="none").sum(dim=1)
        if self.kind == Kind.REAL:
            return 0.5 * (other.values - self.values).square().sum(dim=1)
        return other.values.double() - self.values.double()


def positions(output: ModelOutput) -> Positions:
    """The positions of a batch; leading axes of logits and losses are taken together."""
    if isinstance(output, Tensor):
        return Positions(Kind.LOSSES, output.float().flatten())
    values = output[0].float().flatten(0, -2)
    if output[1] is None:
        return Positions(Kind.REAL, values)
    return Positions(Kind.LOG_PROBABILITIES, values.log_softmax(dim=-1))


def drawn_target_loss(outputs_NK: Tensor, generator: torch.Generator | None) -> Tensor:
    """The loss of each position, (N,), to a target that is drawn from the model: its outputs plus normal noise."""
    noise_NK = torch.empty_like(outputs_NK).normal_(generator=generator)
    return 0.5 * (outputs_NK - outputs_NK.detach() - noise_NK).square().sum(dim=1)
