"""What shapes and names tell about the tensors of well-known kinds of models."""

from collections.abc import Mapping

from torch import nn

from bytecap.fitting.structure import guess_parts
from bytecap.quant.allocation import Shape


def parts(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, int], set[str]]:
    """The axes of gates by name, and the names of what reads inputs."""
    found = guess_parts([Shape(name, "matrix", tuple(shape)) for name, shape in shapes.items()])
    gates = {name: part.gates for name, part in found.items() if part.gates is not None}
    return gates, {name for name, part in found.items() if part.reads_input}


def of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def test_recurrent_layers_have_gates() -> None:
    """LSTM and GRU in the layout of torch, the same with inputs first, directions in tensors of three axes."""
    for layer in (nn.LSTM(40, 64, 2), nn.GRU(24, 64)):
        shapes = of(layer)
        matrices = {name for name, shape in shapes.items() if len(shape) == 2}
        assert parts(shapes) == (dict.fromkeys(matrices, 0), {"weight_ih_l0"})
        swapped = {name: shape[::-1] for name, shape in shapes.items()}
        assert parts(swapped) == (dict.fromkeys(matrices, 1), {"weight_ih_l0"})
    onnx = {"layer.W": (2, 192, 128), "layer.R": (2, 192, 64), "layer.B": (2, 384)}
    assert parts(onnx)[0] == dict.fromkeys(("layer.W", "layer.R"), 0)


def test_blocks_of_a_transformer_have_none() -> None:
    """Hidden maps are 4 times as wide and packed attention 3 times, but one is read and the other differs by number."""
    block = nn.TransformerEncoderLayer(32, 4, 128)
    layers = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
    model = nn.ModuleDict({"embed": nn.Embedding(99, 32), "layers": layers, "out": nn.Linear(32, 99, bias=False)})
    assert parts(of(model)) == ({}, {"embed.weight", "out.weight"})
    gated = {"w1": (128, 32), "gate.w": (128, 32), "w2": (32, 128), "attention.w": (32, 32)}
    assert parts(gated) == ({}, set())


def test_first_maps_read_inputs() -> None:
    """Tables too; not outputs with a bias, kernels, or maps of what a convolution gives at several places."""
    net = nn.Sequential(nn.Linear(30, 24), nn.Linear(24, 48), nn.Linear(48, 10))
    assert parts(of(net)) == ({}, {"0.weight"})
    flat = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 1), nn.Flatten(), nn.Linear(32 * 49, 24))
    assert parts(of(flat)) == ({}, set())
    looked_up = {"table": (500, 24), "map.weight": (24, 24), "few.weight": (6, 24), "few.bias": (6,)}
    assert parts(looked_up) == ({}, {"table"})


def test_outputs_have_biases_and_nothing_reads_them() -> None:
    """The last of several maps; no head without biases, which may be an embedding, and no convolution."""
    for last, expected in ((nn.Linear(48, 10), {"2.weight"}), (nn.Linear(48, 10, bias=False), set())):
        net = nn.Sequential(nn.Linear(30, 24), nn.Linear(24, 48), last)
        found = guess_parts([Shape(name, "matrix", shape) for name, shape in of(net).items()])
        assert {name for name, part in found.items() if part.gives_output} == expected
    kernels = nn.Sequential(nn.Conv1d(8, 16, 3), nn.Conv1d(16, 10, 5))
    found = guess_parts([Shape(name, "matrix", shape) for name, shape in of(kernels).items()])
    assert not any(part.gives_output for part in found.values())


def test_a_guess_needs_nothing_of_its_tensors() -> None:
    """Scalars, vectors in tensors of more axes and empty files give nothing."""
    assert guess_parts([]) == {}
    assert parts({"t": (), "v": (7,), "w": (1, 7), "x": (1, 1, 7)}) == ({}, set())
