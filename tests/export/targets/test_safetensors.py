"""Weights by name."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from bytecap.export.job import export
from tests.export.examples import OTHER, make_file


def test_every_tensor(tmp_path: Path) -> None:
    """What `load_state_dict` gives, number by number, in 32 bits."""
    artifact = make_file(OTHER, how="float")
    export(artifact, "safetensors", tmp_path / "x.safetensors")
    found, expected = load_file(tmp_path / "x.safetensors"), artifact.quantized.state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[n], expected[n]) for n in found)
