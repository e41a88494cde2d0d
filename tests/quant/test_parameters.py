"""Views and elementwise functions of a parameter are the parameter, where they lie in it."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bytecap.quant.parameters import Parameters, arrange
from bytecap.quant.statistics import Curvature
from tests.quant.test_recorder import Function, measured


def assert_alike(one: Curvature, other: Curvature, tolerance: float = 1e-4) -> None:
    """Both sides, up to a factor that goes from one side to the other."""
    ratio = one.inputs_diagonal_I.mean() / other.inputs_diagonal_I.mean()
    assert np.allclose(one.inputs_II, other.inputs_II * ratio, rtol=tolerance, atol=1e-6)
    assert np.allclose(one.outputs * ratio, other.outputs, rtol=tolerance, atol=1e-6)


def test_an_elementwise_function_of_a_weight() -> None:
    """Has the curvature of its value, by the slope on each side: scaled rows, another type, weight norm, a mask."""
    torch.manual_seed(0)
    weight, x = torch.randn(6, 5), torch.randn(40, 5)
    gain = torch.rand(6, 1) + 0.5
    plain = measured(Function(lambda x, weight: F.linear(x, weight), weight=weight * gain), [x])["weight"]
    scaled = measured(Function(lambda x, weight: F.linear(x, weight * gain), weight=weight), [x])["weight"]
    by_hand = dataclasses.replace(plain, outputs=plain.outputs * np.outer(gain, gain))
    assert_alike(scaled, by_hand)
    double = measured(Function(lambda x, weight: F.linear(x, weight.double().float()), weight=weight), [x])["weight"]
    assert_alike(double, measured(Function(lambda x, weight: F.linear(x, weight), weight=weight), [x])["weight"])


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("normed", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_weight_norm_gives_its_direction_the_curvature_of_the_whole(normed: Any) -> None:
    """G by the length of each row over that of its direction; a longer direction has coarser steps."""
    torch.manual_seed(0)
    x, model = torch.randn(50, 20), normed(nn.Linear(20, 6, bias=False))
    plain = nn.Linear(20, 6, bias=False)
    plain.weight.data = model.weight.detach().clone()
    name = next(name for name, p in model.named_parameters() if p.shape == (6, 20))
    with torch.no_grad():
        model.get_parameter(name).mul_(3.0)
    found, whole = measured(model, [x])[name], measured(plain, [x])["weight"]
    assert np.allclose(found.inputs_II, whole.inputs_II, rtol=0.2, atol=0.1), np.abs(
        found.inputs_II - whole.inputs_II
    ).max()
    assert np.allclose(np.diag(found.outputs), np.diag(whole.outputs) / 9, rtol=0.2)


def test_where_a_view_lies() -> None:
    """Rows, columns and parts of the parameter, or nothing where a tensor is no block of it."""
    weight = nn.Parameter(torch.randn(4, 6, 10))
    parameters = Parameters({"w": weight})
    for view, roles, part, row, column, swapped in (
        (weight, "poi", (0, 4), (0, 6), (0, 10), False),
        (weight[2], "io", (2, 3), (0, 6), (0, 10), True),
        (weight[2].T, "io", (2, 3), (0, 6), (0, 10), False),
        (weight[1, 2:4], "oi", (1, 2), (2, 4), (0, 10), False),
        (weight[3, :, 5:], "oi", (3, 4), (0, 6), (5, 10), False),
        (weight.view(24, 10), "oi", (0, 1), (0, 24), (0, 10), False),
        (weight.view(4, 60), "io", (0, 1), (0, 4), (0, 60), True),
    ):
        found = parameters.find(view)
        layout = None if found is None else arrange(found, view.shape, roles)
        assert layout is not None and layout.swapped == swapped
        whole = weight.reshape(layout.parts, layout.rows, layout.columns)[layout.part, layout.row, layout.column]
        assert [layout.part, layout.row, layout.column] == [slice(*each) for each in (part, row, column)]
        assert torch.equal(whole.flatten().sort()[0], view.flatten().sort()[0])
    for view, roles in ((weight[:, ::2], "poi"), (weight[..., 0], "oi"), (weight.permute(1, 0, 2), "oio")):
        found = parameters.find(view)
        assert found is not None and (arrange(found, view.shape, roles) is None) == (roles != "oio")
    assert parameters.find(torch.randn(3)) is None and parameters.find(weight.sum(dim=0)) is None
