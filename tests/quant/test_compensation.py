"""A linear map takes up what is linear in its inputs of the errors before it, and nothing else changes."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.quant.compensation import CHECKED_SHARE, INPUT, OUTPUT, RIDGES, Compensator


class Residual(nn.Module):
    """Two maps beside each other, one that is added to the stream with a factor for each channel, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate = nn.Linear(6, 12), nn.Linear(6, 12, bias=False)
        self.second, self.head = nn.Linear(12, 6, bias=False), nn.Linear(6, 5)
        self.stream = nn.Identity()
        self.scale = nn.Parameter(torch.linspace(0.5, 2, 6))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, V)."""
        active_BTF = F.relu(self.first(x_BTD)) * self.gate(x_BTD)
        return self.head(torch.tanh(self.stream(x_BTD + self.scale * self.second(active_BTF))))


def forward_fn(model: nn.Module, batch: Tensor) -> Tensor:
    """What the model answers."""
    return model(batch)


@pytest.fixture
def compensator() -> Compensator:
    """Over eight batches."""
    torch.manual_seed(0)
    model = Residual()
    return Compensator(model, dict(model.named_parameters()), list(torch.randn(8, 4, 16, 6)), forward_fn)


def error_less(_: str, change_OI: np.ndarray, wanted_OI: np.ndarray, inputs_II: np.ndarray) -> float:
    """By how much the squared error of the outputs is less."""
    return float(((2 * wanted_OI - change_OI @ inputs_II) * change_OI).sum())


def coarse(model: nn.Module, name: str) -> dict[str, np.ndarray]:
    """A weight on a grid of a quarter."""
    return {name: np.round(model.get_parameter(name).detach().numpy() * 4).astype(np.float32) / 4}


@torch.no_grad()
def stream(model: Any, batch: Tensor) -> Tensor:
    """The stream before the head, (N, D)."""
    return (batch + model.scale * model.second(F.relu(model.first(batch)) * model.gate(batch))).flatten(0, 1)


def test_groups_and_places(compensator: Compensator) -> None:
    """In the order of the pass; what reads the same is together, and the stream is found with its factors."""
    assert [[entry.name for entry in group] for group in compensator.groups] == [
        ["first.weight", "gate.weight"], ["second.weight"], ["head.weight"],
    ]  # fmt: skip
    places = {entry.module: entry.place for group in compensator.groups for entry in group}
    assert places == {
        "first": ("first", OUTPUT), "gate": ("gate", OUTPUT), "second": ("stream", OUTPUT), "head": ("", OUTPUT),
    }  # fmt: skip
    assert places["second"] != ("stream", INPUT)  # the last of those that move in proportion
    assert torch.allclose(compensator.groups[1][0].factor_O, torch.linspace(0.5, 2, 6).double(), atol=1e-5)


def test_least_squares_as_written_out(compensator: Compensator) -> None:
    """The weight is that of ridge regression on the batches that are not checked; of three ridges the best there."""
    model: Any = compensator._model
    batches = compensator._batches
    compensator.fix(coarse(model, "first.weight") | coarse(model, "gate.weight"))
    student: Any = compensator._student
    n_checked = len(batches) // CHECKED_SHARE
    found = compensator.corrected(compensator.groups[1], error_less)["second.weight"]
    with torch.no_grad():
        inputs = [F.relu(student.first(b)) * student.gate(b) for b in batches]
        x_NI = torch.cat(inputs[n_checked:]).flatten(0, 1).double()
        error_NO = torch.cat([stream(model, b) - stream(student, b) for b in batches[n_checked:]]).double()
        A_II, tried = x_NI.T @ x_NI, []
        for ridge in RIDGES:
            damped_II = A_II + ridge * A_II.diagonal().mean() * torch.eye(12)
            change_OI = torch.linalg.solve(damped_II, x_NI.T @ error_NO).T / model.scale[:, None].double()
            weight_OI = (model.second.weight + change_OI).float()
            student.second.weight.copy_(weight_OI)
            errors = [(stream(model, b) - stream(student, b)) / model.scale for b in batches[:n_checked]]
            left = sum(float(error.square().sum()) for error in errors)
            tried.append((left, weight_OI))
    assert np.allclose(found, min(tried, key=lambda one: one[0])[1].numpy(), atol=1e-4)


def test_less_is_left_of_an_error(compensator: Compensator) -> None:
    """On inputs that nothing was fitted to; the original stays as it was."""
    model, student, unseen = compensator._model, compensator._student, torch.randn(64, 16, 6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    compensator.fix(coarse(model, "first.weight"))
    left = [float((stream(model, unseen) - stream(student, unseen)).square().sum())]
    for group in compensator.groups[:2]:
        compensator.fix(compensator.corrected(group, error_less))
        left.append(float((stream(model, unseen) - stream(student, unseen)).square().sum()))
    assert left[2] < 0.7 * left[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_has_nothing_to_make_up_for_stays(compensator: Compensator) -> None:
    """Nothing was rounded: no weight changes. Of one batch nothing can be checked, so there are no groups."""
    assert all(compensator.corrected(group, error_less) == {} for group in compensator.groups)
    model = compensator._model
    assert Compensator(model, dict(model.named_parameters()), [torch.randn(4, 16, 6)], forward_fn).groups == []
