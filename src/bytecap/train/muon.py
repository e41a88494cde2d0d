"""Muon: momentum whose update is orthogonalised, so that every direction of a matrix moves equally far.

In:   gradients of matrices (O, I).
Out:  weights changed in place; matrices of one shape are handled as one batch.

Source:  Keller Jordan's Muon (2024); coefficients and the scale √max(1, O/I) as in openai/parameter-golf's baseline;
         Polar Express, arXiv 2505.16932, with the numbers of modded-nanogpt and openai/parameter-golf #1787.
Differs: batched over matrices of one shape; float32 on CPU unless `train.matmul_precision` is bfloat16, as on
         GPU; in float32 a wide matrix's iteration runs on its small Gram matrix alone (same polynomial, fewer flops).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from bytecap.core.products import batched_product, operand_type
from bytecap.train.sharding import Shards

Polynomials: TypeAlias = Literal["quintic", "polar_express"]
QUINTIC = (3.4445, -4.7750, 2.0315)
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
"""The best polynomial for each of five steps in turn, made for singular values of at most 1.02 with a margin."""
POLAR_LIMIT = (1.875, -1.25, 0.375)
"""The best polynomial near 1, for all steps after those."""
NORM_FLOOR = 1e-7


def coefficients(polynomials: Polynomials, steps: int) -> list[tuple[float, float, float]]:
    """(a, b, c) of a x + b x³ + c x⁵ for each step."""
    if polynomials == "quintic":
        return [QUINTIC] * steps
    return [*POLAR_EXPRESS[:steps], *[POLAR_LIMIT] * (steps - len(POLAR_EXPRESS))]


def orthogonalize(matrices_NOI: Tensor, steps: int, polynomials: Polynomials = "quintic") -> Tensor:
    """Each matrix with its singular values pushed towards 1 by `steps` Newton–Schulz steps; float32 out.

    One step maps X to p(X Xᵀ) X with p(g) = a + b g + c g². All factors commute, so they are collected in the small
    Gram matrix and applied to X once.
    """
    work = torch.bfloat16 if matrices_NOI.is_cuda else operand_type()
    tall = matrices_NOI.size(-2) > matrices_NOI.size(-1)
    x = matrices_NOI.mT if tall else matrices_NOI
    x = (x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(NORM_FLOOR)).to(work)
    if work == torch.float32 and 2 * x.size(-2) <= x.size(-1):
        x = _through_gram(x, coefficients(polynomials, steps))
    else:
        for a, b, c in coefficients(polynomials, steps):
            gram = batched_product(x, x.mT)
            x = batched_product(batched_product(gram, gram).mul_(c).add_(gram, alpha=b), x).add_(x, alpha=a)
    return (x.mT if tall else x).float()


def _through_gram(x: Tensor, steps: list[tuple[float, float, float]]) -> Tensor:
    gram = batched_product(x, x.mT)
    product = gram
    for step, (a, b, c) in enumerate(steps):
        factor = batched_product(gram, gram).mul_(c).add_(gram, alpha=b)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = batched_product(factor, product) if step else factor
        if step + 1 < len(steps):
            gram = batched_product(batched_product(factor, gram), factor)
    return batched_product(product, x)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay.

    `row_normalized` divides each row by its length before the orthogonalisation: MuonEq-R, as in
    openai/parameter-golf #1586. `decay_after_update` decays what the update has moved, as in #332.
    """

    def __init__(
        self,
        params: list[torch.nn.Parameter],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        steps: int,
        row_normalized: bool = False,
        decay_after_update: bool = False,
        polynomials: Polynomials = "quintic",
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})
        self._row_normalized = row_normalized
        self._decay_after_update = decay_after_update
        self._polynomials: Polynomials = polynomials
        self.shards = Shards(list(params))

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for parameters in by_shape.values():
                self._step_shape(parameters, group)

    def _step_shape(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        update_NOI = self.shards.gather(parameters, self._updates(self.shards.mine(parameters), group))
        rows, columns = parameters[0].shape
        scale = max(1.0, rows / columns) ** 0.5
        kept = 1.0 - group["lr"] * group["weight_decay"]
        if kept != 1.0 and not self._decay_after_update:
            torch._foreach_mul_(parameters, kept)
        torch._foreach_add_(parameters, list(update_NOI.to(parameters[0].dtype).unbind()), alpha=-group["lr"] * scale)
        if kept != 1.0 and self._decay_after_update:
            torch._foreach_mul_(parameters, kept)

    def _updates(self, parameters: list[Tensor], group: dict[str, Any]) -> Tensor:
        """Momentum moved, and the orthogonal directions (N, O, I) of matrices of one shape."""
        if not parameters:
            return torch.empty(0)
        gradients = [p.grad for p in parameters if p.grad is not None]
        buffers = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            buffers.append(state["momentum"])
        torch._foreach_lerp_(buffers, gradients, 1.0 - group["momentum"])
        looked_ahead = torch._foreach_lerp(gradients, buffers, group["momentum"])
        direction_NOI = torch.stack(looked_ahead)
        if self._row_normalized:
            direction_NOI /= direction_NOI.norm(dim=-1, keepdim=True).clamp_min(NORM_FLOOR)
        return orthogonalize(direction_NOI, group["steps"], self._polynomials)
