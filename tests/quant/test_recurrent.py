"""Recurrent layers written out give what torch's fused functions give."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from bytecap.core.progress import Silent
from bytecap.quant.calibration import calibrate
from bytecap.quant.recurrent import CELLS, is_written_out, run_cell, run_layers


class WrittenOut(TorchFunctionMode):
    """Puts our functions in the place of torch's."""

    seen = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if is_written_out(func, args):
            self.seen += 1
            return (run_cell if func in CELLS else run_layers)(func, F.linear, args)
        return func(*args, **(kwargs or {}))


LAYERS = [
    nn.LSTM(4, 6, 2, batch_first=True), nn.LSTM(4, 6, 2, bidirectional=True), nn.LSTM(4, 6, proj_size=3, bias=False),
    nn.GRU(4, 6, 2, bidirectional=True), nn.RNN(4, 6, bias=False), nn.RNN(4, 6, nonlinearity="relu"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_layers_equal_those_of_torch(layer: nn.Module) -> None:
    """Outputs and last states, of several layers, both directions, a projection, no bias."""
    x = torch.randn(5, 3, 4)
    with torch.no_grad(), WrittenOut() as mode:
        found = layer(x)
    with torch.no_grad():
        wanted = layer(x)
    assert mode.seen == 1
    flat = lambda both: [both[0], *(both[1] if isinstance(both[1], tuple) else [both[1]])]  # noqa: E731
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(flat(found), flat(wanted), strict=True))


@pytest.mark.parametrize("cell", [nn.LSTMCell(4, 6), nn.GRUCell(4, 6, bias=False), nn.RNNCell(4, 6)], ids=str)
def test_cells_equal_those_of_torch(cell: nn.Module) -> None:
    """One step, with the state that the cell makes itself."""
    x = torch.randn(3, 4)
    with torch.no_grad(), WrittenOut() as mode:
        found = cell(x)
    with torch.no_grad():
        wanted = cell(x)
    assert mode.seen == 1
    for a, b in zip(*(one if isinstance(one, tuple) else (one,) for one in (found, wanted)), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_packed_gates_are_measured() -> None:
    """Both matrices of a layer have curvature of inputs and of all gates."""
    model = nn.LSTM(4, 6, batch_first=True)
    found = calibrate(
        model, [torch.randn(3, 7, 4)], lambda m, x: m(x)[0].square().sum(-1).flatten(), source_digest="x",
        progress=Silent(),
    ).tensors  # fmt: skip
    assert found["weight_ih_l0"].inputs_II.shape == (4, 4) and found["weight_hh_l0"].inputs_II.shape == (6, 6)
    assert found["weight_hh_l0"].outputs.shape == (24, 24)
