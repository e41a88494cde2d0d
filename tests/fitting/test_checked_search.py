"""Where the loss is no parabola, a fit follows the loss."""

import functools

import pytest
import torch
from torch import Tensor, nn

import bytecap
from bytecap.core.budget import FileBudget
from bytecap.fitting.checked_search import CheckedSearch
from bytecap.fitting.module_job import ModuleInputs, make_module_job
from bytecap.fitting.size_search import SizeSearch
from bytecap.fitting.true_loss import Increase
from bytecap.formats.per_channel import PER_CHANNEL
from bytecap.quant.allocation import QuantConfig
from tests.fitting.notes import Notes

CONFIG = QuantConfig(calibration_tokens=4096, states=4, labels="data")


class Spectrum(nn.Module):
    """Logarithm of the power in what is nearly silent now and then, then a linear map: curvature without bounds."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.bands, self.mixed, self.out = nn.Linear(16, 16, False), nn.Linear(16, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.mixed((self.bands(x).square() + 1e-10).log())
        return self.out(hidden.relu())


@functools.cache
def batches() -> list[tuple[Tensor, Tensor]]:
    model = Spectrum()
    torch.manual_seed(2)
    loud = (torch.rand(16, 256, 1) < 0.9).float()
    sound = torch.randn(16, 256, 16) * (loud + 1e-5)
    with torch.no_grad():
        return [(x, y + torch.randn(y.shape)) for x in sound for y in [model(x)]]


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return 0.5 * (model(batch[0]) - batch[1]).square().sum(1)


def error(weights: dict[str, Tensor]) -> float:
    """Mean increase of the loss on inputs of the same kind."""
    model = Spectrum()
    with torch.no_grad():
        wanted = [model(x) for x, _ in batches()[12:]]
        model.load_state_dict(weights)
        errors = [(model(x) - y).square().sum(1) for (x, _), y in zip(batches()[12:], wanted, strict=True)]
        return 0.5 * float(torch.cat(errors).mean())


def test_curvature_without_bounds() -> None:
    """Corrected by the loss that rounding each tensor alone costs: a fit that is nearer, and that says so."""
    notes, model = Notes(), Spectrum()
    job = make_module_job(model, ModuleInputs(batches(), loss, CONFIG, 0), FileBudget(900), notes)
    search = job.fitter
    assert isinstance(search, CheckedSearch)
    plain, checked = SizeSearch(search.problem, search.pack).fit(900, notes), search.fit(900, notes)
    assert len(checked.data) <= 900
    assert error(checked.model.state_dict()) < 0.2 * error(plain.model.state_dict())
    assert any("curvature was corrected" in note for note in notes.notes)


def test_what_calibration_gets_wrong() -> None:
    """One silent input, again and again, says nothing about the others: the file is the one without calibration."""
    notes = Notes()
    silent = [(x[:1].repeat(256, 1) * 0, y) for x, y in batches()]
    heard = [*silent[:12], *batches()[12:]]
    fitted = bytecap.fit(Spectrum(), heard, loss=loss, cap_bytes=620, config=CONFIG, progress=notes)
    free = QuantConfig(calibration_tokens=0, states=4)
    without = bytecap.fit(Spectrum(), [], loss=loss, cap_bytes=620, config=free)
    found, wanted = (error(each.quantized.state_dict()) for each in (fitted, without))
    assert found == pytest.approx(wanted, rel=0.01)
    assert any("follows no calibration" in note for note in notes.notes)


@pytest.mark.parametrize("plain_loss", [0.5, 2.0])
def test_plain_rounding_is_taken_where_it_loses_less(plain_loss: float) -> None:
    """Also where the loss is what curvature predicts, which this stand-in for it always says of the fit."""
    notes = Notes()
    job = make_module_job(Spectrum(), ModuleInputs(batches(), loss, CONFIG, 0), FileBudget(900), notes)
    search = job.fitter
    assert isinstance(search, CheckedSearch)
    ours = SizeSearch(search.problem, search.pack).fit(900, notes)
    assert ours.loss is not None
    answers = [Increase(times * ours.loss, 0.0) for times in ([1, 0.5, 0.5] if plain_loss < 1 else [1, 2])]
    search.true_loss = lambda weights: answers.pop(0)  # type: ignore[assignment]
    found = search.fit(900, notes)
    formats = {tensor.format for tensor in found.plan.tensors if len(tensor.shape) > 1}
    assert len(found.data) <= 900 and not answers
    assert formats == {PER_CHANNEL} if plain_loss < 1 else PER_CHANNEL not in formats
    assert any("plain rounding costs" in note for note in notes.notes) == (plain_loss < 1)
