"""The mean loss that training minimizes, with its gradients made block by block in the forward pass.

A mean's gradients are known up to one number as soon as the loss is (symbols as in model/loss.py):

    d loss / d z = 4 s (1 - s) (p - onehot)

Where something else will be mixed into the model's distribution later, the gradient of a target's loss can be weighed
by how much of it is left to the model:

    weight = 1 - strength * added / (share * p + added)

With strength 1 that is the gradient of -log(share * p + added), the loss of the mixture.

Letters: B sequences, T positions, N all positions, R positions of a block, D width, V vocabulary.
Source:  Cut Your Losses, arXiv 2411.09009 (gradients without a tensor of all logits).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bytecap.core.products import add_product, narrowed, product
from bytecap.model.gpt import GPT
from bytecap.model.loss import logit_blocks

_HELD = 6
"""Blocks whose bfloat16 gradients become one product with the hidden states: rounding and adding up each would take as
long as the products."""


class MixtureWeights(NamedTuple):
    """Makes a mixture of the model's probability p of each target: share * p + added."""

    share_N: Tensor
    """The model's share of the mixture at each target."""
    added_N: Tensor
    """The probability that the rest of the mixture adds."""
    strength: float
    """0: no weights, 1: the gradient of the mixture's loss."""

    def weights(self, loss_N: Tensor) -> Tensor:
        """The weight of each target's gradient, from its loss in nats."""
        mixed_N = self.share_N * torch.exp(-loss_N.detach()) + self.added_N
        return 1 - self.strength * self.added_N / mixed_N

    def mean(self, loss_N: Tensor) -> Tensor:
        """The mean of the losses, whose gradient is weighed."""
        return loss_N.detach().mean() + (self.weights(loss_N) * (loss_N - loss_N.detach())).mean()

    def part(self, place: slice) -> MixtureWeights:
        """Those of some targets."""
        return MixtureWeights(self.share_N[place], self.added_N[place], self.strength)


def mean_loss(
    model: GPT, tokens_BT: Tensor, target_BT: Tensor, bos: int, *, mixture: MixtureWeights | None = None,
    max_documents: int | None = None,
) -> Tensor:  # fmt: skip
    """Mean nats of the targets; beside a `mixture`, which lists them row by row, the gradient is weighed.

    `max_documents` is as for `GPT.hidden`.
    """
    hidden_ND = model.hidden(tokens_BT, bos, max_documents=max_documents).flatten(0, 1)
    target_N = target_BT.flatten()
    if model.loss_in_blocks(hidden_ND):
        return mean_loss_in_blocks(hidden_ND, model.output_VD, target_N, model.spec.logit_softcap, mixture)
    loss_N = F.cross_entropy(model.logits(hidden_ND), target_N, reduction="none")
    return loss_N.mean() if mixture is None else mixture.mean(loss_N)


def mean_loss_in_blocks(
    hidden_ND: Tensor, embedding_VD: Tensor, target_N: Tensor, softcap: float, mixture: MixtureWeights | None = None
) -> Tensor:
    """Mean nats of the targets, weighed by a mixture; has gradients to hidden states and embedding.

    Only where `blocks_suit` (model/loss.py).
    """
    return _MeanLoss.apply(hidden_ND, embedding_VD, target_N, softcap, mixture)  # type: ignore[no-any-return, no-untyped-call]


class _EmbeddingGradient:
    """The sum over blocks of hidden statesᵀ gradients of logits, (D, V).

    Operands of bfloat16 are held until `_HELD` blocks make one product.
    """

    def __init__(self, hidden_ND: Tensor, weight_VD: Tensor) -> None:
        self._hidden_ND = hidden_ND.to(weight_VD.dtype)
        self._sum_DV = hidden_ND.new_zeros(weight_VD.size(1), weight_VD.size(0))
        self._held_RV = weight_VD.new_empty(0)
        self._begin = self._end = 0

    def add(self, place: slice, gradient_RV: Tensor) -> Tensor:
        """Take the next block in; its gradients as an operand."""
        if self._hidden_ND.dtype == gradient_RV.dtype:
            self._sum_DV = add_product(self._sum_DV, self._hidden_ND[place].T, gradient_RV.T)
            return gradient_RV
        if not len(self._held_RV):
            self._held_RV = self._hidden_ND.new_empty(_HELD * len(gradient_RV), gradient_RV.size(1))
        if place.start + len(gradient_RV) - self._begin > len(self._held_RV):
            self.sum()
        kept_RV = self._held_RV[place.start - self._begin :][: len(gradient_RV)].copy_(gradient_RV)
        self._end = place.start + len(gradient_RV)
        return kept_RV

    def sum(self) -> Tensor:
        """The sum, with what is held."""
        if self._end > self._begin:
            held_RV = self._held_RV[: self._end - self._begin]
            self._sum_DV += product(self._hidden_ND[self._begin : self._end].T, held_RV.T)
            self._begin = self._end
        return self._sum_DV


class _MeanLoss(torch.autograd.Function):
    """The mean, with the gradients of hidden states and embedding made block by block in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, embedding_VD: Tensor, target_N: Tensor, softcap: float,
        mixture: MixtureWeights | None,
    ) -> Tensor:  # fmt: skip
        total, weight_VD = hidden_ND.new_zeros(()), narrowed(embedding_VD)
        hidden_gradient_ND, embedding_gradient = torch.empty_like(hidden_ND), _EmbeddingGradient(hidden_ND, weight_VD)
        for place, loss_R, sigmoid_RV, p_RV, sum_R1 in logit_blocks(hidden_ND, weight_VD, target_N, softcap):
            total += loss_R.sum()
            target_R1 = target_N[place, None]
            p_RV *= sum_R1.reciprocal()
            p_RV.scatter_add_(-1, target_R1, p_RV.new_full((1, 1), -1.0).expand_as(target_R1))
            if mixture is not None:
                p_RV *= mixture.part(place).weights(loss_R)[:, None]
            gradient_RV = torch.ops.aten.sigmoid_backward.grad_input(p_RV, sigmoid_RV, grad_input=p_RV)
            gradient_RV = embedding_gradient.add(place, gradient_RV)
            hidden_gradient_ND[place] = product(gradient_RV, weight_VD.T)
        embedding_gradient_DV = embedding_gradient.sum()
        ctx.save_for_backward(hidden_gradient_ND, embedding_gradient_DV)
        return total / len(hidden_ND)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        hidden_gradient_ND, embedding_gradient_DV = ctx.saved_tensors
        scale = gradient * (4 / len(hidden_gradient_ND))
        return hidden_gradient_ND * scale, (embedding_gradient_DV * scale).T.contiguous(), None, None, None
