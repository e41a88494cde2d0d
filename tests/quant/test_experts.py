"""Experts in one tensor have the curvature of what was routed to each."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.quant.test_recorder import Function, measured


def route(x: Tensor, weight: Tensor, way: str) -> Tensor:
    """Each row of x (N, D) through the expert N mod E of (E, D, F), with zeros for one that is not chosen."""
    count, experts = len(x), len(weight)
    chosen = torch.arange(count) % (experts - 1)  # the last is never chosen
    if way == "one by one":
        out = x.new_zeros(count, weight.size(2))
        for e in range(experts - 1):
            out = out.index_put((torch.where(chosen == e)[0],), x[chosen == e] @ weight[torch.tensor(e)])
        return out
    if way == "all, then zero":
        every = torch.einsum("nd,edf->nef", x, weight)
        return (every * F.one_hot(chosen, experts)[..., None]).sum(dim=1)
    if way == "slots":
        slots = torch.stack([x * (chosen == e)[:, None] for e in range(experts)])
        return torch.bmm(slots, weight).sum(dim=0)
    if way == "gathered":
        return torch.bmm(x[:, None], weight[chosen])[:, 0]
    order = torch.argsort(chosen, stable=True)
    ends = torch.bincount(chosen, minlength=experts).cumsum(0).int()
    out = torch._grouped_mm(x[order], weight, offs=ends)
    return out[torch.argsort(order)]


@pytest.mark.parametrize("way", ["one by one", "all, then zero", "slots", "gathered", "grouped"])
def test_each_expert_has_the_curvature_of_what_was_routed_to_it(way: str) -> None:
    """However the experts are called; one that was never chosen has that of all, as if it were chosen four times."""
    torch.manual_seed(0)
    weight, batches = torch.randn(4, 8, 16), [torch.randn(30, 8), torch.randn(24, 8)]
    found = measured(Function(lambda x, weight: route(x, weight, way), weight=weight), batches)["weight"]
    assert found.inputs_II.shape == (16, 16) and found.outputs.shape == (32,) and len(found.parts) == 4
    read, given = [[], [], [], []], [[], [], [], []]  # type: ignore[var-annotated]
    for x in batches:
        for n, row in enumerate(x):
            read[n % 3].append(row.double())
            given[n % 3].append(2 * row.double() @ weight[n % 3].double())
    every = [torch.stack([row for one in rows for row in one]) for rows in (read, given)]
    mean_x, mean_g = (rows.T @ rows / len(rows) for rows in every)
    for e, part in enumerate(found.parts):
        x, g = (torch.stack(rows[e]) if rows[e] else torch.zeros(0, size) for rows, size in ((read, 8), (given, 16)))
        outputs = (g.double().T @ g.double() + 4 * mean_g) / (len(x) + 4)
        inputs = (x.double().T @ x.double() + 4 * mean_x) / 54
        assert np.allclose(part.inputs_II, outputs.numpy(), rtol=1e-3, atol=1e-4)
        assert np.allclose(part.outputs, inputs.numpy(), rtol=1e-3, atol=1e-4)
