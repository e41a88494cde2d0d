"""Gradients of a scored chunk's loss through the pass that scored it, and weights that are moved by them.

In:   a `Scored` with its graph, parameters.
Out:  a gradient for each; other parameters in the model; the base of adaptations that give each document its own.

Letters: B rows, T positions of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bytecap.core.settings import bounds, check_bounds
from bytecap.model.gpt import GPT
from bytecap.model.spec import MAX_CONTEXT
from bytecap.scoring.adaptations.base import Adaptation, AdaptationConfig
from bytecap.scoring.ledger import Scored


class ModelWeights:
    """Parameters of a model that are replaced, never changed in place: a graph keeps those it was built with."""

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        self._places = [(model.get_submodule(parent), leaf) for parent, _, leaf in (n.rpartition(".") for n in names)]
        self._starts = [parameter.detach() for parameter in self.now]

    @property
    def now(self) -> list[nn.Parameter]:
        """The weights that the model uses now."""
        return [getattr(module, leaf) for module, leaf in self._places]

    def replace(self, values: Iterable[Tensor]) -> None:
        """Use these from here on; they require gradients."""
        for (module, leaf), value in zip(self._places, values, strict=True):
            setattr(module, leaf, nn.Parameter(value))

    def restart(self) -> None:
        """Use those of the file again."""
        self.replace(self._starts)


def row_gradients(scored: Scored, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Gradients of the sum over rows of the mean loss of each row; zeros for a parameter that took no part in it.

    Where each row has parameters of its own, each gets the gradient of its own mean. The graph stays for others.
    """
    assert scored.loss_BT is not None, "an adaptation that learns by gradients must say needs_gradient"
    counted_BT = scored.counted_BT.to(scored.loss_BT.device)
    loss_B = torch.where(counted_BT, scored.loss_BT, 0).sum(dim=1) / counted_BT.sum(dim=1)
    return torch.autograd.grad(loss_B.sum(), parameters, retain_graph=True, materialize_grads=True)


@dataclass(frozen=True, kw_only=True)
class DocumentWeightsConfig(AdaptationConfig):
    """How often the weights take a step."""

    chunk: int = field(default=64, metadata=bounds(1, MAX_CONTEXT))
    """Positions of a document between two steps."""

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers out of bounds."""
        check_bounds(self)


class DocumentWeights(Adaptation):
    """Base of adaptations that train the model's own weights on one document at a time, from those of the file.

    After each chunk but a document's last comes one step on the chunk's mean loss, which `step` makes.
    """

    needs_gradient = True
    moves_weights = True

    def __init__(self, config: DocumentWeightsConfig) -> None:
        super().__init__(config)
        self._chunk = config.chunk
        self._weights: ModelWeights | None = None

    @property
    def chunk(self) -> int:
        """The chunk of the settings."""
        return self._chunk

    @property
    def max_rows(self) -> int:
        """One: every document has weights of its own."""
        return 1

    def begin(self, model: GPT, rows: int, bos: int) -> None:
        """Restart from the weights of the file."""
        if self._weights is None:
            self._weights = ModelWeights(model, self.learned_names(model))
        self.reset(0)

    def reset(self, row: int) -> None:
        """Restart from the weights of the file."""
        assert self._weights is not None
        self._weights.restart()
        self.forget(self._weights.now)

    def learn(self, scored: Scored) -> None:
        """Take one step."""
        assert self._weights is not None
        parameters = self._weights.now
        gradients = row_gradients(scored, parameters)
        self._weights.replace(self.step([parameter.detach() for parameter in parameters], gradients))

    def learned_names(self, model: GPT) -> Iterable[str]:
        """The names of the parameters that learn."""
        return [name for name, _ in model.named_parameters()]

    def forget(self, parameters: Sequence[Tensor]) -> None:
        """Forget what is known of gradients; `parameters` are those of the file."""

    def step(self, values: list[Tensor], gradients: tuple[Tensor, ...]) -> Iterable[Tensor]:
        """New values of all parameters that learn; the old ones and their gradients must not change."""
        raise NotImplementedError
