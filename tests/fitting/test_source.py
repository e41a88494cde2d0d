"""Checkpoints from elsewhere, and what cannot be weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bytecap.core.errors import ConfigError, DataError, NumericsError
from bytecap.fitting.source import open_checkpoint, source_from_module


def test_checkpoints_from_elsewhere(tmp_path: Path) -> None:
    """Plain safetensors are read; pickles are refused with the lines that convert them; NaN is named."""
    path = tmp_path / "w.safetensors"
    save_file({"a.weight": torch.randn(4, 6), "a.bias": torch.zeros(4)}, path)
    source = open_checkpoint(path)
    assert [(s.name, s.role) for s in source.shapes] == [("a.bias", "scalar"), ("a.weight", "matrix")]
    assert source.model is None and source.spec is None
    with pytest.raises(ConfigError, match="run `bytecap convert"):
        open_checkpoint(tmp_path / "w.pt")
    with pytest.raises(DataError, match="does not exist"):
        open_checkpoint(tmp_path / "other.safetensors")
    path.write_bytes(b"1234567890")
    with pytest.raises(DataError, match="is not a safetensors file"):
        open_checkpoint(path)
    model = nn.Sequential(nn.Linear(4, 5))
    with torch.no_grad():
        model.get_parameter("0.weight")[3, 3] = float("inf")
    with pytest.raises(NumericsError, match=r"tensor 0.weight holds NaN or infinity"):
        source_from_module(model)


def test_whole_numbers_stay_as_they_are(tmp_path: Path) -> None:
    """Buffers of a foreign checkpoint are kept exactly, not rounded like weights."""
    path = tmp_path / "w.safetensors"
    save_file(
        {"a.weight": torch.randn(4, 6), "positions": torch.arange(3000, 3007), "mask": torch.ones(2, 2) > 0}, path
    )
    shapes = {s.name: s for s in open_checkpoint(path).shapes}
    assert shapes["positions"].exact and shapes["mask"].exact and not shapes["a.weight"].exact
    assert {shapes[name].role for name in ("positions", "mask")} == {"scalar"}
    assert open_checkpoint(path).dtypes == {"a.weight": "F32", "positions": "I64", "mask": "BOOL"}
    save_file({"ids": torch.tensor([1 << 40])}, path)
    with pytest.raises(DataError, match="tensor ids holds whole numbers beyond 16,777,216"):
        open_checkpoint(path)


def test_what_cannot_be_weights(tmp_path: Path) -> None:
    """No tensors, empty ones and masks are refused by name."""
    path = tmp_path / "w.safetensors"
    save_file({}, path)
    with pytest.raises(DataError, match="holds no tensors"):
        open_checkpoint(path)
    save_file({"a": torch.zeros(0, 3)}, path)
    with pytest.raises(DataError, match=r"tensor a of shape \(0, 3\) is empty"):
        open_checkpoint(path)
    save_file({"bias": torch.full((2, 2), torch.finfo(torch.float32).min)}, path)
    with pytest.raises(NumericsError, match=r"tensor bias holds values up to 3\.4e"):
        open_checkpoint(path)
    save_file({"x" * 1025: torch.ones(2, 2)}, path)
    with pytest.raises(DataError, match=r"a tensor has the name 'x{80}', of 1,025 letters; rename it to at most 1,024"):
        open_checkpoint(path)


def test_numbers_below_what_squares_can_hold(tmp_path: Path) -> None:
    """Denormal numbers stay what they are."""
    path = tmp_path / "w.safetensors"
    save_file({"dead": torch.full((4, 4), 1e-42), "alive": torch.tensor([[1e-42, 1.0]])}, path)
    source = open_checkpoint(path)
    assert source.weights["dead"].all() and source.weights["alive"].all()


def test_parameters_that_are_no_numbers_to_round() -> None:
    """Integers, complex numbers and masks are named with what to do."""
    model = nn.Linear(3, 3)
    model.weight = nn.Parameter(torch.ones(3, 3, dtype=torch.int8), requires_grad=False)
    with pytest.raises(DataError, match=r"parameter weight is of type torch.int8; fit the model before"):
        source_from_module(model)
    other = nn.Linear(3, 3)
    other.register_buffer("mask", torch.full((3, 3), float("-inf")))
    with pytest.raises(NumericsError, match="tensor mask holds NaN or infinity; register the buffer with persistent=F"):
        source_from_module(other)
    other.mask = torch.zeros(3, dtype=torch.complex64)
    with pytest.raises(DataError, match="tensor mask holds complex numbers"):
        source_from_module(other)


def test_types_that_torch_cannot_read(tmp_path: Path) -> None:
    """Several numbers in a byte: refused by name, with what to do."""
    path = tmp_path / "w.safetensors"
    packed = torch.randint(0, 256, (8, 4), dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    save_file({"w4": packed, "w": torch.randn(4, 4)}, path)
    with pytest.raises(DataError, match=r"w4 is of type F4, which cannot be read|already \(4-bit floats, such as w4\)"):
        open_checkpoint(path)
