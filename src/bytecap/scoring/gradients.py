"""Gradients of the loss of a chunk that was scored, through the pass that it was scored with; weights that follow them.

In:   a `Scored` with its graph, parameters.
Out:  a gradient for each; other parameters in the model.

Letters: B rows, T positions of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from bytecap.scoring.ledger import Scored


class ModelWeights:
    """Parameters of a model that are replaced and never changed, so that a graph keeps those that it was made with."""

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        self._places = [(model.get_submodule(parent), leaf) for parent, _, leaf in (n.rpartition(".") for n in names)]
        self._starts = [parameter.detach() for parameter in self.now]

    @property
    def now(self) -> list[nn.Parameter]:
        """What the model works with."""
        return [getattr(module, leaf) for module, leaf in self._places]

    def replace(self, values: Iterable[Tensor]) -> None:
        """Work with these from here on; they ask for gradients."""
        for (module, leaf), value in zip(self._places, values, strict=True):
            setattr(module, leaf, nn.Parameter(value))

    def restart(self) -> None:
        """Work with those of the file again."""
        self.replace(self._starts)


def row_gradients(scored: Scored, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of the sum over rows of the mean loss of each row; zeros for a parameter that had no part in it.

    Where each row has parameters of its own, each gets the gradient of its own mean. The graph stays for others.
    """
    assert scored.loss_BT is not None, "an adaptation that learns by gradients must say needs_gradient"
    counted_BT = scored.counted_BT.to(scored.loss_BT.device)
    loss_B = torch.where(counted_BT, scored.loss_BT, 0).sum(dim=1) / counted_BT.sum(dim=1)
    return torch.autograd.grad(loss_B.sum(), parameters, retain_graph=True, materialize_grads=True)
