"""silero-vad's detector of speech at 16 kHz: a Fourier kernel, convolutions, an LSTM cell."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from public_models.checkpoint import Checkpoint, fill, find
from public_models.inputs import speech


class Silero(nn.Module):
    """silero-vad at 16 kHz over sounds (B, samples): logits of speech (B, chunks)."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1, self.conv2 = nn.Conv1d(129, 128, 3, padding=1), nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3, self.conv4 = nn.Conv1d(64, 64, 3, stride=2, padding=1), nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell, self.final_conv = nn.LSTMCell(128, 128), nn.Conv1d(128, 1, 1)

    def forward(self, sound: Tensor) -> Tensor:
        padded, state, given = F.pad(sound, (64, 0)), None, []
        for begin in range(64, padded.size(1) - 511, 512):
            x = F.pad(padded[:, None, begin - 64 : begin + 512], (0, 64), "reflect")
            x = self.stft_conv(x)
            x = (x[:, :129] ** 2 + x[:, 129:] ** 2 + 1e-12).sqrt()
            for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
                x = F.relu(layer(x))
            state = self.lstm_cell(x.squeeze(-1), state)
            given.append(self.final_conv(state[0].unsqueeze(-1).relu()).flatten(1))
        return torch.cat(given, 1)


def silero_vad(folder: Path) -> Checkpoint:
    """Logits of speech for pieces of 32 ms."""
    model, path = Silero(), find(folder, "silero_vad/data/silero_vad_16k.safetensors")
    batches = list(speech(folder, 256, 4_096).split(16))
    return Checkpoint(
        "silero-vad 16k", "silero-vad 6.2.3", fill(model, path), model, batches, lambda y: y.reshape(-1, 1)
    )
