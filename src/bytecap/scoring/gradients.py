"""Gradients of the loss of a chunk that was scored, through the pass that it was scored with.

In:   a `Scored` with its graph, parameters.
Out:  a gradient for each.

Letters: B lanes, T positions of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bytecap.scoring.ledger import Scored


def lane_gradients(scored: Scored, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of the sum over lanes of the mean loss of each lane; zeros for a parameter that had no part in it.

    Where each lane has parameters of its own, each gets the gradient of its own mean. The graph stays for others.
    """
    assert scored.loss_BT is not None, "an adaptation that learns by gradients must say needs_gradient"
    counted_BT = scored.counted_BT.to(scored.loss_BT.device)
    loss_B = torch.where(counted_BT, scored.loss_BT, 0).sum(dim=1) / counted_BT.sum(dim=1)
    return torch.autograd.grad(loss_B.sum(), parameters, retain_graph=True, materialize_grads=True)
