"""Every linear map is seen wherever it is called, and nothing else is taken for one."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.progress import Silent
from bytecap.quant.calibration import calibrate


def test_maps_inside_multi_head_attention() -> None:
    """Are measured like the same maps called one by one, whether named by position or by keyword, frozen or not."""

    class Attention(nn.Module):
        def __init__(self, apart: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.attention, self.apart = nn.MultiheadAttention(6, 1, bias=False, batch_first=True), apart

        def forward(self, x: Tensor) -> Tensor:
            inside, outside = self.attention.in_proj_weight, self.attention.out_proj.weight
            if not self.apart:
                return self.attention(x, x, x, need_weights=False)[0]
            query, key, value = F.linear(input=x, weight=inside).chunk(3, dim=-1)
            return F.linear(F.scaled_dot_product_attention(query, key, value), weight=outside)

    batches, found = [torch.randn(4, 5, 6)], []
    for apart in (False, True):
        model = Attention(apart).requires_grad_(not apart)
        found.append(
            calibrate(
                model, batches, lambda m, x: m(x).square().sum(-1).flatten(), source_digest="x", progress=Silent(),
                total_tokens=20,
            ).tensors
        )  # fmt: skip
        assert all(p.requires_grad != apart and p.grad is None for p in model.parameters())
    assert set(found[0]) == set(found[1]) == {"attention.in_proj_weight", "attention.out_proj.weight"}
    for name, curvature in found[0].items():
        assert np.allclose(curvature.inputs_II, found[1][name].inputs_II, rtol=1e-4, atol=1e-6)
        assert np.allclose(curvature.outputs, found[1][name].outputs, rtol=1e-4, atol=1e-6)


def test_calls_that_are_no_linear_maps() -> None:
    """A convolution without a batch axis, or transposed in groups: small ones get one step, large ones a diagonal."""
    for model, x in (
        (nn.Conv1d(4, 3, 1), torch.randn(4, 5)),
        (nn.ConvTranspose1d(4, 4, 3, groups=2), torch.randn(2, 4, 5)),
    ):
        found = calibrate(
            model, [x], lambda m, x: m(x).square().flatten(), source_digest="x", progress=Silent(), total_tokens=1
        )
        assert not found.tensors and set(found.vectors) == {"weight", "bias"}
    model = nn.Conv1d(40, 30, 1)
    found = calibrate(
        model, [torch.randn(40, 5)], lambda m, x: m(x).square().sum(0), source_digest="x", progress=Silent(),
        total_tokens=1,
    )  # fmt: skip
    curvature = found.tensors["weight"]
    assert curvature.inputs_II.shape == (40,) and curvature.outputs.shape == (30,)
    whole = float(curvature.inputs_II.sum() * curvature.outputs.sum())
    assert np.isclose(whole, found.tensors["weight"].gradient_square * 1200 * 5, rtol=1e-4)


def test_rows_taken_by_index_are_an_embedding() -> None:
    """A table read by its indices has the curvature that `F.embedding` gives it."""

    class Table(nn.Module):
        def __init__(self, indexed: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.indexed = nn.Parameter(torch.randn(9, 4)), indexed

        def forward(self, ids: Tensor) -> Tensor:
            return self.table[ids] if self.indexed else F.embedding(ids, self.table)

    ids = torch.randint(0, 9, (6, 5))
    one, other = (
        calibrate(
            Table(indexed), [ids], lambda m, x: m(x).square().sum(-1).flatten(), source_digest="x", progress=Silent(),
            total_tokens=30,
        ).tensors["table"]
        for indexed in (True, False)
    )  # fmt: skip
    assert np.allclose(one.inputs_II, other.inputs_II) and np.allclose(one.outputs, other.outputs)
