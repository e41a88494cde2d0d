"""What a calibration text itself says: losses, labels, and how likely the model finds each token.

In:   the output of a forward function at each position.
Out:  the loss of each position to be differentiated, with labels or targets drawn from the model; counts, entropies.

Letters: N positions, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bytecap.core.distributed import gather_numbers
from bytecap.core.errors import NumericsError
from bytecap.quant.distinct import DistinctPositions
from bytecap.quant.outputs import ModelOutput, drawn_target_loss

MANY_LABELS = 1 << 13
"""Vocabulary beyond which labels are drawn along the sum of their probabilities."""


class CalibrationLabels:
    """Sums over the positions of a calibration text, batch by batch."""

    def __init__(self) -> None:
        self.positions, self.loss, self.distinct = 0, 0.0, DistinctPositions()
        self.labels: Tensor | None = None
        self.probability: Tensor | None = None

    def add(self, output: ModelOutput, sampled: bool, generator: torch.Generator | None) -> Tensor:
        """The loss of each position to be differentiated."""
        self.distinct.add(output)
        if isinstance(output, Tensor):
            self.positions += output.numel()
            self.loss += float(output.detach().double().sum())
            return output
        logits_NV, label_N = output
        if label_N is None:
            loss_N = drawn_target_loss(logits_NV.float(), generator)
            self.positions += len(loss_N)
            self.loss += float(loss_N.detach().double().sum())
            return loss_N
        log_NV = logits_NV.float().log_softmax(dim=-1)
        if math.isnan(float(log_NV.detach().sum())):
            raise NumericsError("the model gives NaN on the calibration text; the checkpoint has diverged")
        p_NV = log_NV.detach().exp()
        counts_V = torch.bincount(label_N, minlength=p_NV.size(1)).double().cpu()
        self.labels = counts_V if self.labels is None else self.labels + counts_V
        summed_V = p_NV.sum(dim=0)
        self.probability = summed_V if self.probability is None else self.probability + summed_V
        self.positions += label_N.numel()
        self.loss -= float(log_NV.detach().gather(1, label_N[:, None]).double().sum())
        used_N1 = draw_labels(p_NV, generator) if sampled else label_N[:, None]
        return -log_NV.gather(1, used_N1).squeeze(1)

    def tensors(self) -> list[Tensor]:
        """Counts and summed probabilities of tokens, where they are known."""
        return [tensor for tensor in (self.labels, self.probability) if tensor is not None]

    def n_distinct(self) -> int:
        """Positions with different outputs, of all processes; the same in two of them counts twice."""
        return int(sum(one for (one,) in gather_numbers([float(self.distinct.count)])))

    def unigram(self) -> float:
        """Entropy of the labels in nats; infinite where they are not known."""
        if self.labels is None:
            return math.inf
        share = self.labels[self.labels > 0] / self.positions
        return float(-(share * share.log()).sum())


def draw_labels(p_NV: Tensor, generator: torch.Generator | None) -> Tensor:
    """A label (N, 1) for each position by its probabilities, which need not sum to one.

    Of a large vocabulary it takes one random number for each position instead of one for each label.
    """
    if p_NV.size(1) <= MANY_LABELS:
        return torch.multinomial(p_NV, 1, generator=generator)
    summed_NV = p_NV.cumsum(dim=-1)
    drawn_N1 = torch.rand((len(p_NV), 1), device=p_NV.device, generator=generator) * summed_NV[:, -1:]
    return torch.searchsorted(summed_NV, drawn_N1, right=True).clamp_max_(p_NV.size(1) - 1)
