"""What a model gives at a position, compared with the same written out number by number."""

import math

import pytest
import torch
from torch import Tensor, nn

from bytecap.core.progress import Silent
from bytecap.quant.calibration import CalibrationOptions, calibrate
from bytecap.quant.outputs import Kind, drawn_target_loss, positions
from bytecap.quant.statistics import Calibration

INPUTS = [torch.randn(40, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(25)]


def measured(model: nn.Module, *, real: bool) -> Calibration:
    """By real outputs, or by losses to targets that were drawn here."""
    generator = torch.Generator().manual_seed(7)

    def outputs(net: nn.Module, x: Tensor) -> tuple[Tensor, None] | Tensor:
        if real:
            return net(x).flatten(0, -2), None
        y = net(x).flatten(0, -2)
        return 0.5 * (y - y.detach() - torch.randn(y.shape, generator=generator)).square().sum(1)

    return calibrate(
        model, INPUTS, outputs, source_digest="x", progress=Silent(),
        options=CalibrationOptions(generator=torch.Generator().manual_seed(3)),
    )  # fmt: skip


def test_divergences_number_by_number() -> None:
    """KL of distributions over classes and of normal ones of variance 1; the increase of losses."""
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(2, 3, 4, generator=generator) for _ in range(2))
    labels = torch.zeros(6, dtype=torch.long)
    classes = positions((one, labels)).divergence(positions((two, labels)))
    real = positions((one, None)).divergence(positions((two, None)))
    for place, (a, b) in enumerate(zip(one.reshape(6, 4).double(), two.reshape(6, 4).double(), strict=True)):
        p, q = ([math.exp(v) / sum(map(math.exp, each.tolist())) for v in each.tolist()] for each in (a, b))
        expected = sum(x * math.log(x / y) for x, y in zip(p, q, strict=True))
        assert float(classes[place]) == pytest.approx(expected, abs=1e-6)
        # ∫ N(x; a, 1) log(N(x; a, 1) / N(x; b, 1)) dx, by sums over a grid for each number
        grid = torch.linspace(-12, 12, 4801, dtype=torch.float64)
        known = sum(
            float((torch.exp(-0.5 * (grid - u) ** 2) * 0.5 * ((grid - v) ** 2 - (grid - u) ** 2)).sum())
            * 0.005 / math.sqrt(2 * math.pi) for u, v in zip(a.tolist(), b.tolist(), strict=True)
        )  # fmt: skip
        assert float(real[place]) == pytest.approx(known, rel=1e-5)
    losses = positions(one[0, 0]).divergence(positions(two[0, 0]))
    assert torch.allclose(losses, two[0, 0].double() - one[0, 0].double())
    kinds = [positions(given) for given in ((one, labels), (one, None), one)]
    assert [each.kind for each in kinds] == [Kind.LOG_PROBABILITIES, Kind.REAL, Kind.LOSSES]
    assert [each.is_exact for each in kinds] == [True, True, False]


def test_targets_have_variance_one() -> None:
    """The gradient of the loss at the outputs is minus the noise: mean 0, second moment the identity."""
    outputs = torch.zeros(40_000, 3).requires_grad_()
    (noise,) = torch.autograd.grad(drawn_target_loss(outputs, torch.Generator().manual_seed(0)).sum(), outputs)
    assert noise.mean(0).abs().max() < 0.02
    assert torch.allclose(noise.T @ noise / len(noise), torch.eye(3), atol=0.03)


@pytest.mark.parametrize("squashed", [False, True])
def test_curvature_of_real_outputs(squashed: bool) -> None:
    """As with targets drawn by hand; of the last map it is exact, J² by output, on all positions."""
    torch.manual_seed(0)
    first, last = nn.Linear(5, 6), nn.Linear(6, 4)
    model = nn.Sequential(first, nn.Tanh(), last, nn.Tanh() if squashed else nn.Identity())
    found, drawn = measured(model, real=True), measured(model, real=False)
    for name in ("0.weight", "2.weight"):
        ours, theirs = found.tensors[name], drawn.tensors[name]
        assert torch.allclose(torch.tensor(ours.inputs_II), torch.tensor(theirs.inputs_II))
        error = torch.tensor(ours.outputs - theirs.outputs).norm() / torch.tensor(theirs.outputs).norm()
        assert 0 < float(error) < 0.2, name  # 1,000 draws each
    slopes = torch.stack([
        torch.autograd.functional.jacobian(model[3], z).diagonal() for x in INPUTS for z in model[:3](x).detach()
    ])  # fmt: skip
    assert torch.allclose(torch.tensor(found.tensors["2.weight"].outputs), slopes.square().mean(0).diag(), rtol=1e-4)
    assert found.tokens == 1000 and 950 < found.distinct <= 1000


def test_a_last_convolution_is_no_row_of_outputs() -> None:
    """A convolution whose places become the columns of the outputs is measured by drawn targets; logits likewise."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 1, 3, padding=1), nn.Flatten(1))
    found, drawn = measured(model, real=True).tensors["1.weight"], measured(model, real=False).tensors["1.weight"]
    assert found.outputs == pytest.approx(drawn.outputs, rel=0.1)

    def logits(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        return net(x), torch.zeros(len(x), dtype=torch.long)

    calibrate(model, INPUTS, logits, source_digest="x", progress=Silent())


def test_the_same_inputs_again_count_once() -> None:
    """Whatever targets are drawn for them."""
    model = nn.Linear(5, 2)
    found = calibrate(
        model, [INPUTS[0]] * 6, lambda net, x: (net(x), None), source_digest="x", progress=Silent(),
    )  # fmt: skip
    assert (found.tokens, found.distinct) == (240, 40)
