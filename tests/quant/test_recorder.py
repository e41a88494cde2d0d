"""Every linear map is seen wherever it is called, and nothing else is taken for one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bytecap.core.progress import Silent
from bytecap.quant.calibration import CalibrationOptions, calibrate


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
            ).tensors
        )  # fmt: skip
        assert all(p.requires_grad != apart and p.grad is None for p in model.parameters())
    assert set(found[0]) == set(found[1]) == {"attention.in_proj_weight", "attention.out_proj.weight"}
    for name, curvature in found[0].items():
        assert np.allclose(curvature.inputs_II, found[1][name].inputs_II, rtol=1e-4, atol=1e-6)
        assert np.allclose(curvature.outputs, found[1][name].outputs, rtol=1e-4, atol=1e-6)


def measured(model: nn.Module, batches: list[Any], loss: Callable[[nn.Module, Any], Tensor] | None = None) -> Any:
    """Curvature for a loss of each position, the sum of squares of its outputs unless given."""
    loss = loss or (lambda m, x: m(x).square().sum(-1).flatten())
    return calibrate(model, batches, loss, source_digest="x", progress=Silent()).tensors


class Function(nn.Module):
    """Parameters and what is done with them."""

    def __init__(self, call: Callable[..., Tensor], **parameters: Tensor) -> None:
        super().__init__()
        self.call = call
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value.clone()))

    def forward(self, x: Any) -> Tensor:
        return self.call(x, **dict(self.named_parameters()))


def test_slices_are_the_rows_of_one_matrix() -> None:
    """Attention to something else takes slices of its packed weight: G of each, and A over all that they read."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(6, 2, batch_first=True)
    query, memory = torch.randn(3, 4, 6), torch.randn(3, 5, 6)
    found = measured(attention, [(query, memory)], lambda m, x: m(x[0], x[1], x[1])[0].square().sum(-1).flatten())
    packed = found["in_proj_weight"]
    assert packed.inputs_II.shape == (6, 6) and packed.outputs.shape == (18, 18)
    read = torch.cat([query.flatten(0, 1), memory.flatten(0, 1)]).double()
    assert np.allclose(packed.inputs_II, (read.T @ read / len(read)).numpy(), rtol=1e-4, atol=1e-6)
    assert (packed.outputs[:6, 6:] == 0).all() and (np.diag(packed.outputs) > 0).all()


def test_factors_of_low_rank() -> None:
    """B A x through the product of both factors is measured as through each in turn, but for the noise of few rows."""
    torch.manual_seed(0)
    left, right, batches = torch.randn(30, 4), torch.randn(4, 20), [torch.randn(64, 20) for _ in range(200)]
    losses = lambda m, x: (m(x) * torch.randn(len(x), 30)).sum(-1)  # noqa: E731  (gradients of positions independent)
    product = measured(Function(lambda x, a, b: F.linear(x, b @ a), a=right, b=left), batches, losses)
    turns = measured(Function(lambda x, a, b: F.linear(F.linear(x, a), b), a=right, b=left), batches, losses)
    for name in "ab":
        one, other = product[name], turns[name]
        size = other.outputs_diagonal_O.mean() * other.inputs_diagonal_I.mean()
        assert np.isclose(one.outputs_diagonal_O.mean() * one.inputs_diagonal_I.mean() / size, 1, atol=0.1)
        shapes = [each.inputs_II / each.inputs_diagonal_I.mean() for each in (one, other)]
        assert np.allclose(shapes[0], shapes[1], atol=0.2)


@pytest.mark.parametrize(
    ("call", "natural", "stored"),
    [
        (lambda x, w: F.conv1d(x, w, stride=2, padding=1), (5, 3, 4), (2, 1, 0)),  # Keras: places, inputs, outputs
        (lambda x, w: F.conv1d(x, w), (5, 3, 4), (0, 2, 1)),  # channels last
        (lambda x, w: F.conv1d(x, w, groups=3), (6, 1, 4), (2, 1, 0)),
        (lambda x, w: F.conv2d(x, w), (5, 3, 2, 4), (2, 3, 1, 0)),
        (lambda x, w: F.conv_transpose1d(x, w), (3, 5, 4), (2, 1, 0)),
    ],
)
def test_kernels_in_another_order(
    call: Callable[..., Tensor], natural: tuple[int, ...], stored: tuple[int, ...]
) -> None:
    """A kernel kept with its axes in another order has the curvature of the same kernel as torch keeps it, moved."""
    torch.manual_seed(0)
    weight, axes = torch.randn(natural), [4, 3, *[9] * (len(natural) - 2)]
    batches, back = [torch.randn(axes) for _ in range(3)], np.argsort(stored).tolist()
    losses = lambda m, x: m(x).square().flatten(1).sum(1)  # noqa: E731
    one = measured(Function(call, w=weight), batches, losses)["w"]
    kept = weight.permute(stored).contiguous()
    other = measured(Function(lambda x, w: call(x, w.permute(back)), w=kept), batches, losses)["w"]
    whole = np.kron(one.outputs, one.inputs_II).reshape(2 * natural)
    whole = whole.transpose(*stored, *(axis + len(natural) for axis in stored)).reshape(2 * (weight.numel(),))
    assert np.allclose(np.kron(other.outputs, other.inputs_II), whole, rtol=1e-3, atol=1e-5 * whole.max())


def test_calls_that_are_no_linear_maps() -> None:
    """A weight in a product of numbers: a small one gets one step, a large one a diagonal."""
    small = calibrate(
        Function(lambda x, weight: x * weight.square(), weight=torch.randn(4, 3)), [torch.randn(4, 3)],
        lambda m, x: m(x).square().flatten(), source_digest="x", progress=Silent(),
    )  # fmt: skip
    assert not small.tensors and set(small.vectors) == {"weight"}
    model = Function(lambda x, weight: (x * weight.square()).sum(0), weight=torch.randn(40, 30))
    curvature = measured(model, [torch.randn(40, 30)], lambda m, x: m(x).square())["weight"]
    assert curvature.outputs.shape == (40,) and curvature.inputs_II.shape == (30,)
    assert np.isclose(float(curvature.inputs_II.sum() * curvature.outputs.sum()),
                      curvature.gradient_square * 1200 * 30, rtol=1e-4)  # fmt: skip


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
        ).tensors["table"]
        for indexed in (True, False)
    )  # fmt: skip
    assert np.allclose(one.inputs_II, other.inputs_II) and np.allclose(one.outputs, other.outputs)


def test_without_the_gradients_of_matrices() -> None:
    """The same curvature to the bit for all ways of a linear map, tied heads and products of parameters."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.table, self.up = nn.Embedding(12, 6), nn.Linear(6, 8)
            self.down, self.a, self.b = (nn.Parameter(torch.randn(shape)) for shape in ((8, 6), (6, 2), (2, 6)))

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.table(tokens)
            x = x + torch.addmm(torch.zeros(6), torch.tanh(self.up(x)).flatten(0, 1), self.down).view_as(x)
            return F.linear(x + x @ (self.a @ self.b), self.table.weight)

    tokens, found, seen = torch.randint(12, (4, 5)), [], {}
    for squares in (True, False):
        model = Model()
        hooks: dict[str, list[Tensor]] = {name: [] for name, _ in model.named_parameters()}
        for name, parameter in model.named_parameters():
            parameter.register_hook(hooks[name].append)
        found.append(
            calibrate(
                model, [tokens], lambda m, x: (m(x).flatten(0, 1), x.flatten()), source_digest="x", progress=Silent(),
                options=CalibrationOptions(generator=torch.Generator().manual_seed(0), squares=squares),
            )
        )  # fmt: skip
        seen[squares] = {name for name, gradients in hooks.items() if gradients}
    assert seen[True] - seen[False] == {"up.weight", "down"}
    assert found[0].tensors.keys() == found[1].tensors.keys() and found[0].vectors == found[1].vectors
    for name, one in found[0].tensors.items():
        other = found[1].tensors[name]
        assert np.allclose(one.inputs_II, other.inputs_II, rtol=1e-5) and np.allclose(
            one.outputs, other.outputs, rtol=1e-5
        )
