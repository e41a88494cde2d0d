"""Open weights make up for fixed ones, and nothing else changes."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bytecap.core.errors import ConfigError
from bytecap.quant.distillation import HELD_OUT_BATCHES, Distiller


def forward_fn(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Distributions over five labels."""
    return model(batch), torch.zeros(len(batch), dtype=torch.long)


def two_layers() -> tuple[nn.Module, list[Tensor]]:
    """A model and text for it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 5))
    return model, list(torch.randn(20, 64, 6))


def kl(model: nn.Module, weights: dict[str, np.ndarray], batch: Tensor) -> float:
    """Mean KL(model || model with these weights), written out."""
    other = {name: torch.from_numpy(value) for name, value in weights.items()}
    with torch.no_grad():
        p, q = model(batch).softmax(-1), torch.func.functional_call(model, other, (batch,)).softmax(-1)
        return float((p * (p / q).log()).sum(-1).mean())


def test_open_weights_make_up_for_a_fixed_one() -> None:
    """A coarse first layer: on text not trained on, less than a third of the divergence is left. The original stays."""
    model, text = two_layers()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    coarse = np.round(before["0.weight"].numpy() * 4).astype(np.float32) / 4
    weights = {name: value.numpy().copy() for name, value in before.items()} | {"0.weight": coarse}
    distiller = Distiller(model, dict(model.named_parameters()), itertools.cycle(text), forward_fn, steps=200)
    adapted = distiller("0.weight", coarse, {"2.weight": 0.1})
    assert set(adapted) == {"0.bias", "2.weight", "2.bias"}
    unseen = torch.randn(500, 6)
    assert kl(model, weights | adapted, unseen) < kl(model, weights, unseen) / 3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_divergence_of_other_weights() -> None:
    """On the first batches, which nothing is trained on: the mean over all of their positions, as written out."""
    model, text = two_layers()
    distiller = Distiller(model, dict(model.named_parameters()), iter(text), forward_fn, steps=5)
    weights = {name: value.numpy() + 0.1 for name, value in model.state_dict().items()}
    assert distiller.divergence(weights) == pytest.approx(
        kl(model, weights, torch.cat(text[:HELD_OUT_BATCHES])), rel=1e-4
    )
    assert distiller.divergence({"0.bias": model.get_parameter("0.bias").detach().numpy()}) > 0  # others stay
    trained = {id(batch) for batch in distiller._held_out}
    distiller("0.weight", np.zeros((12, 6), np.float32), {"2.weight": 0.1})
    assert trained == {id(batch) for batch in text[:HELD_OUT_BATCHES]}


def test_what_is_fixed_stays() -> None:
    """The second call returns no weight that was fixed; after the last nothing moves."""
    model, text = two_layers()
    distiller = Distiller(model, dict(model.named_parameters()), itertools.cycle(text), forward_fn, steps=5)
    first = distiller("0.weight", np.zeros((12, 6), np.float32), {"2.weight": 0.1})
    second = distiller("2.weight", np.zeros((5, 12), np.float32), {})
    assert set(second) == {"0.bias", "2.bias"}
    some = Distiller(model, ["0.weight", "2.weight"], itertools.cycle(text), forward_fn, steps=5)
    assert set(some("0.weight", np.zeros((12, 6), np.float32), {"2.weight": 0.1})) == {"2.weight"}
    assert all(np.array_equal(second[name], first[name]) for name in second)
    assert not np.array_equal(first["2.bias"], model.get_parameter("2.bias").detach().numpy())


def test_losses_alone_are_refused() -> None:
    """Distributions are needed."""
    model, text = two_layers()
    distiller = Distiller(
        model, dict(model.named_parameters()), itertools.cycle(text), lambda model, batch: model(batch).sum(-1), steps=5
    )
    with pytest.raises(ConfigError, match="must return \\(logits, labels\\)"):
        distiller("0.weight", np.zeros((12, 6), np.float32), {"2.weight": 0.1})
