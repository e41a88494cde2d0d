"""Resemblyzer's encoder of voices: an LSTM of three layers over mel spectrograms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from public_models.checkpoint import Checkpoint, fill, find, rows
from public_models.inputs import speech


class Resemblyzer(nn.Module):
    """Resemblyzer's voice encoder over mel spectrograms (B, 160, 40): unit vectors (B, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
        self.similarity_weight, self.similarity_bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def forward(self, mels: Tensor) -> Tensor:
        raw = F.relu(self.linear(self.lstm(mels)[1][0][-1]))
        return raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-9)


def mel_spectrograms(sound: Tensor) -> Tensor:
    """(B, frames, 40): power of 40 triangular bands, 25 ms windows every 10 ms."""
    power = torch.stft(sound, 400, 160, window=torch.hann_window(400), return_complex=True).abs() ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42) / 2595) - 1)
    hertz = np.linspace(0, 8000, 201)
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    bands = np.clip(np.minimum(rising, falling), 0, None) * 2 / (edges[2:] - edges[:-2])[:, None]
    return (torch.tensor(bands, dtype=torch.float32) @ power).transpose(1, 2)


def resemblyzer(folder: Path) -> Checkpoint:
    """Unit vectors of voices for pieces of 1.6 s."""
    model, path = Resemblyzer(), find(folder, "resemblyzer/pretrained.pt")
    batches = list(mel_spectrograms(speech(folder, 256, 25_500)).split(16))
    return Checkpoint("Resemblyzer", "Resemblyzer 0.1.4", fill(model, path), model, batches, rows)
