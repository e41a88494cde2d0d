"""Curvature as measured by hooks equals curvature worked out by hand, whatever the module is called."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.errors import DataError, NumericsError
from bytecap.core.progress import Silent
from bytecap.quant.calibration import calibrate, load_calibration, sampled_losses, save_calibration
from bytecap.quant.statistics import Calibration


class Tied(nn.Module):
    """Embedding, a looped map, a convolution of width 1, the embedding again as head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Parameter(torch.randn(11, 6) * 0.5)
        self.loop = nn.Linear(6, 6, bias=True)
        self.mix = nn.Conv1d(6, 6, 1, bias=False)
        self.unused = nn.Linear(2, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, T, 11)."""
        x = F.embedding(tokens, self.table)
        x = torch.tanh(self.loop(torch.tanh(self.loop(x))))
        x = self.mix(x.transpose(1, 2)).transpose(1, 2)
        return F.linear(x, self.table)


def losses(model: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of the data's labels in both places, so that there is no chance in it."""
    logits = model(batch[:, :-1]).flatten(0, 1)
    loss = F.cross_entropy(logits, batch[:, 1:].flatten(), reduction="none")
    return loss, loss, batch[:, 1:].flatten()


BATCHES = [torch.randint(11, (3, 9), generator=torch.Generator().manual_seed(i)) for i in range(4)]


def measured(**settings: int) -> Calibration:
    return calibrate(
        Tied(), BATCHES, losses, made_from="x", progress=Silent(), total_tokens=96, **settings
    )  # fmt: skip


def test_a_looped_map_sums_over_its_uses() -> None:
    """A is the mean over both uses, G the sum of both, per position."""
    model, inputs, gradients = Tied(), [], []
    for batch in BATCHES:
        x = F.embedding(batch[:, :-1], model.table)
        first = model.loop(x)
        middle = torch.tanh(first)
        second = model.loop(middle)
        h = model.mix(torch.tanh(second).transpose(1, 2)).transpose(1, 2)
        loss = F.cross_entropy(F.linear(h, model.table).flatten(0, 1), batch[:, 1:].flatten(), reduction="sum")
        gradients += [g.flatten(0, 1) for g in torch.autograd.grad(loss, [first, second])]
        inputs += [x.flatten(0, 1), middle.flatten(0, 1)]
    x, g = (torch.cat(parts).detach().double().numpy() for parts in (inputs, gradients))
    found = measured().tensors["loop.weight"]
    assert np.allclose(found.inputs_II, x.T @ x / len(x), rtol=1e-4, atol=1e-6)
    assert np.allclose(found.outputs, g.T @ g / (len(g) / 2), rtol=1e-4, atol=1e-8)


def test_quadratic_model_of_a_tied_embedding() -> None:
    """Both uses together predict what a Gauss–Newton sum over single positions gives, within the Kronecker sum."""
    found = measured().tensors["table"]
    assert found.inputs_II.shape == (6, 6) and found.outputs.shape == (11, 11)
    assert np.allclose(found.inputs_II, found.inputs_II.T) and (np.linalg.eigvalsh(found.outputs) > -1e-6).all()
    head_only = found.outputs_diagonal_O
    assert (head_only > 0).all()


def test_convolution_and_unused() -> None:
    """A convolution of width 1 is a linear map; what was never used is not there; plain vectors neither."""
    found = measured()
    assert set(found.tensors) == {"table", "loop.weight", "mix.weight"}
    assert found.tensors["mix.weight"].inputs_II.shape == (6, 6)
    assert found.tokens == 96 and found.loss > 0 and 0 < found.unigram <= np.log(11)


def test_diagonal_where_there_are_many_outputs() -> None:
    """Beyond the limit only G_ii is kept, and it is the same."""
    full, short = measured(), measured(most_outputs=5)
    assert short.tensors["loop.weight"].outputs.shape == (6,)
    assert np.allclose(short.tensors["loop.weight"].outputs, np.diag(full.tensors["loop.weight"].outputs), rtol=1e-4)


def test_sampled_labels_follow_the_model() -> None:
    """Drawn labels have the model's frequencies, and the loss is theirs."""
    logits = torch.log(torch.tensor([0.7, 0.2, 0.1])).repeat(20_000, 1)
    drawn, observed, labels = sampled_losses(logits, torch.zeros(20_000, dtype=torch.int64), torch.Generator())
    assert torch.isclose((drawn < 0.4).float().mean(), torch.tensor(0.7), atol=0.02)
    assert torch.allclose(observed, torch.full((20_000,), -np.log(0.7)).float()) and not labels.any()


def test_a_file(tmp_path: Path) -> None:
    """Saved and read back; another checkpoint's or a damaged one is refused."""
    path, calibration = tmp_path / "c.safetensors", measured()
    save_calibration(path, calibration)
    back = load_calibration(path, "x")
    assert back.unigram == calibration.unigram and list(back.tensors) == list(calibration.tensors)
    assert np.array_equal(back.tensors["table"].outputs, calibration.tensors["table"].outputs)
    with pytest.raises(DataError, match="measured on checkpoint x, this is y"):
        load_calibration(path, "y")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="is not a calibration"):
        load_calibration(path, "x")


def test_broken_input() -> None:
    """NaN weights are named; no batches is an error."""
    model = Tied()
    with torch.no_grad():
        model.loop.weight[0, 0] = float("nan")
    with pytest.raises(NumericsError, match=r"tensor loop.weight holds NaN"):
        calibrate(model, BATCHES, losses, made_from="x", progress=Silent(), total_tokens=1)
    with pytest.raises(DataError, match="no calibration text"):
        calibrate(Tied(), [], losses, made_from="x", progress=Silent(), total_tokens=1)
