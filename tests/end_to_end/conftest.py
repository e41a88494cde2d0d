"""A checkpoint outside its run folder, and weights of somebody else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import make_document


@pytest.fixture(scope="module")
def alone(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of the run outside its folder, its tokenizer and a text beside it."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copy(finished / "checkpoint.safetensors", folder / "w.safetensors")
    shutil.copy(finished / "tokens" / "tokenizer.model", folder / "tokenizer.model")
    (folder / "text.txt").write_text("\n".join(make_document(seed) for seed in range(100, 110)))
    (folder / "short.txt").write_text("the model has one cap")
    return folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of somebody else."""
    path = tmp_path_factory.mktemp("foreign") / "other.safetensors"
    torch.manual_seed(0)
    names = ("wte.weight", "h.0.attn.weight", "h.0.mlp.up.weight")
    save_file({name: torch.randn(64, 48) for name in names} | {"ln.weight": torch.ones(48)}, path)
    return path
